// `jade-db export vectors`: all vectors of a database into a file, resumable (Parquet begins anew: its rows are described at its end).
// Guarantees: the state never claims bytes that are not on disk; vectors that exist from start to end are in the file once.
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, rmSync, writeSync } from "node:fs";
import type { Vector, Vectors } from "../../client/index.ts";
import { CommandFailure, UsageError } from "../exit-codes.ts";
import { Progress } from "../transfer/progress.ts";
import { readState, removeState, statePath, type VectorExportState, writeState } from "../transfer/state-file.ts";
import { BARE_FORMATS, type RowWriter, rowWriter, type VectorFormat } from "./formats.ts";
import type { VectorRow } from "./rows.ts";
import { SIDECAR_SUFFIX } from "./sidecar.ts";

const KIND = "export-vectors";

export interface VectorExport {
  readonly vectors: Vectors;
  readonly target: string;
  readonly file: string;
  readonly format: VectorFormat;
  readonly dimension: number;
  readonly restart: boolean;
}

/** Where writing goes on. */
type Place = Omit<VectorExportState, "kind" | "target" | "cursor"> & { readonly cursor?: string };

/** A file that is written at a place of its own. */
class Output {
  readonly #descriptor: number;
  bytes: number;

  constructor(path: string, bytes: number) {
    this.#descriptor = openSync(path, bytes > 0 ? "r+" : "w");
    this.bytes = bytes;
    ftruncateSync(this.#descriptor, bytes); // what came after the last durable page
  }

  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; )
      at += writeSync(this.#descriptor, bytes, at, bytes.length - at, this.bytes + at);
    this.bytes += bytes.length;
  }

  overwriteHead(bytes: Uint8Array): void {
    writeSync(this.#descriptor, bytes, 0, bytes.length, 0);
  }

  sync(): void {
    fsyncSync(this.#descriptor);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

function startPlace({ file, target, format, restart }: VectorExport): Place {
  const fresh = { doneBytes: 0, sidecarBytes: 0, doneRows: 0 };
  if (restart || format === "parquet") return fresh;
  const held = readState<VectorExportState>(statePath(file, KIND), KIND);
  if (!held) return fresh;
  if (held.target !== target)
    throw new UsageError(
      `the export that stopped read from ${held.target}, not ${target}; say --restart to begin anew`,
    );
  const files = held.sidecarBytes > 0 ? [file, file + SIDECAR_SUFFIX] : [file];
  const gone = files.find((path) => !existsSync(path));
  if (gone !== undefined) throw new UsageError(`${gone}, begun by the export that stopped, is gone; say --restart`);
  return held;
}

function rowOf({ id, values, metadataJson }: Vector): VectorRow {
  if (!values) throw new CommandFailure(`the server gave no values of vector ${JSON.stringify(id)}`);
  // The server does not tell an empty object from none.
  return { id, values, metadata: metadataJson === "{}" ? undefined : metadataJson };
}

/** Gives the number of vectors. The state file is deleted at the end; after a failure it stays. */
export async function exportVectors(input: VectorExport): Promise<number> {
  const { file, format, dimension } = input;
  const place = startPlace(input);
  const writer = rowWriter(format, dimension);
  if (BARE_FORMATS.has(format) === false) rmSync(file + SIDECAR_SUFFIX, { force: true });
  const output = new Output(file, place.doneBytes);
  const sidecar = BARE_FORMATS.has(format) ? new Output(file + SIDECAR_SUFFIX, place.sidecarBytes) : undefined;
  try {
    if (place.doneRows > 0) console.error(`going on after ${place.doneRows} vectors`);
    else output.append(writer.start());
    const rows = await writePages(input, { place, writer, output, sidecar });
    output.append(writer.end());
    const head = writer.head(rows);
    if (head) output.overwriteHead(head);
    output.sync();
    removeState(statePath(file, KIND));
    return rows;
  } catch (error) {
    // Of a Parquet file nothing can be used before its end is there.
    if (format === "parquet") rmSync(file, { force: true });
    throw error;
  } finally {
    output.close();
    sidecar?.close();
  }
}

interface Target {
  readonly place: Place;
  readonly writer: RowWriter;
  readonly output: Output;
  readonly sidecar: Output | undefined;
}

async function writePages({ vectors, target, file, format }: VectorExport, { place, writer, output, sidecar }: Target) {
  const progress = new Progress({ verb: "exported", noun: "vectors" });
  const limit = writer.batchRows;
  let { doneRows, cursor } = place;
  try {
    for (;;) {
      const page = await vectors.page({ cursor, limit, includeValues: true, includeMetadata: true });
      const batch = page.items.map(rowOf);
      if (batch.length > 0) {
        output.append(writer.rows(batch));
        sidecar?.append(writer.sidecar(batch)!);
      }
      doneRows += batch.length;
      progress.update(doneRows, output.bytes);
      output.sync();
      sidecar?.sync();
      if (page.cursor === null) return doneRows;
      if (page.cursor === cursor) throw new CommandFailure("the server's list repeats its cursor");
      cursor = page.cursor;
      if (format === "parquet") continue;
      const state = { doneBytes: output.bytes, sidecarBytes: sidecar?.bytes ?? 0, doneRows, cursor };
      writeState(statePath(file, KIND), { kind: KIND, target, ...state });
    }
  } finally {
    progress.finish(doneRows, output.bytes);
  }
}
