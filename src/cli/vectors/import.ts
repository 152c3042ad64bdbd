// `jade-db import vectors`: writes every row of a file, in batches, resumable.
// Guarantees: a batch's write id follows from the run and its first row, and batches are cut the same way each time, so a resumed import
// applies each row once; rows of one id are written in their order; the state on disk never claims a row that is not acknowledged.
import { randomUUID } from "node:crypto";
import type { VectorBatchAnswer, VectorBatchResult, Vectors } from "../../client/index.ts";
import { writeIdFrom } from "../../client/index.ts";
import { chunksOf } from "../../client/vector-batch.ts";
import { CommandFailure, UsageError } from "../exit-codes.ts";
import { headHash, Watermark } from "../transfer/import.ts";
import { Progress } from "../transfer/progress.ts";
import { readState, removeState, statePath, type VectorImportState, writeState } from "../transfer/state-file.ts";
import { type FormatOptions, readRows, type VectorFormat } from "./formats.ts";
import type { FileRow, VectorFile } from "./rows.ts";

const KIND = "import-vectors";
const SAVE_INTERVAL_MS = 1000;

export interface VectorImport {
  readonly vectors: Vectors;
  /** Server, namespace and database: an import is not resumed elsewhere. */
  readonly target: string;
  readonly file: VectorFile;
  readonly format: VectorFormat;
  readonly read: FormatOptions;
  readonly batchRows: number;
  /** Batches under way at once. */
  readonly concurrency: number;
  readonly restart: boolean;
  /** Told of each text that has no vector; without it the first one stops the import. */
  readonly onRefused?: ((refused: RefusedText) => void) | undefined;
}

export interface RefusedText {
  readonly place: string;
  readonly id: string;
  readonly why: string;
}

function startState({ file, target, batchRows, restart }: VectorImport): VectorImportState {
  const path = statePath(file.name, KIND);
  const held = restart ? undefined : readState<VectorImportState>(path, KIND);
  const head = headHash(file.name);
  if (held && (held.fileBytes !== file.byteCount || held.headHash !== head))
    throw new UsageError(
      `${file.name} changed since its import stopped at row ${held.doneRows}; say --restart to import it from its start`,
    );
  if (held && held.target !== target)
    throw new UsageError(`the import that stopped went to ${held.target}, not ${target}; say --restart to begin anew`);
  const fresh = {
    kind: KIND,
    target,
    runId: randomUUID(),
    fileBytes: file.byteCount,
    headHash: head,
    batchRows,
  } as const;
  return held ?? { ...fresh, doneRows: 0 };
}

interface BatchRow {
  readonly id: string;
  readonly values: Float32Array;
  readonly text?: string | undefined;
  readonly metadataJson: string | undefined;
  readonly row: FileRow;
}

class ImportRun {
  readonly #input: VectorImport;
  readonly #state: VectorImportState;
  /** In batches; its bytes are rows. */
  readonly #mark: Watermark;
  readonly #progress: Progress;
  readonly #open = new Set<Promise<void>>();
  /** Ids of the batches under way. */
  readonly #openIds = new Set<string>();
  #batches = 0;
  #doneBytes = 0;
  #savedMs = performance.now();
  #failure: { readonly error: unknown } | undefined;

  constructor(input: VectorImport, state: VectorImportState) {
    this.#input = input;
    this.#state = state;
    this.#mark = new Watermark(0, state.doneRows);
    this.#progress = new Progress({ verb: "imported", noun: "vectors", totalBytes: input.file.byteCount });
  }

  async run(): Promise<number> {
    try {
      for await (const batch of chunksOf(this.#rows(), this.#state.batchRows)) {
        // A later row of an id must not overtake an earlier one.
        if (batch.some(({ id }) => this.#openIds.has(id))) await Promise.all(this.#open);
        if (this.#failure) break;
        this.#start(batch);
        if (this.#open.size >= this.#input.concurrency) await Promise.race(this.#open);
        if (performance.now() - this.#savedMs >= SAVE_INTERVAL_MS) this.#save();
      }
    } catch (error) {
      this.#failure ??= { error };
    }
    await Promise.all(this.#open);
    this.#progress.finish(this.#mark.bytes, this.#doneBytes);
    this.#save();
    if (this.#failure) throw this.#failure.error;
    return this.#mark.bytes;
  }

  /** What is not yet acknowledged. */
  async *#rows(): AsyncGenerator<BatchRow, void, undefined> {
    const { file, format, read } = this.#input;
    for await (const row of readRows(file, format, read)) {
      if (row.number <= this.#state.doneRows) continue;
      yield { id: row.id, values: row.values, text: row.text, metadataJson: row.metadata, row };
    }
  }

  #start(batch: readonly BatchRow[]): void {
    const number = ++this.#batches;
    const { row } = batch.at(-1)!;
    for (const { id } of batch) this.#openIds.add(id);
    const work = this.#write(batch).then(
      () => {
        this.#mark.finish({ number, endOffset: row.number });
        this.#doneBytes = Math.max(this.#doneBytes, row.doneBytes);
        this.#progress.update(this.#mark.bytes, this.#doneBytes);
      },
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
    const open = work.then(() => {
      this.#open.delete(open);
      for (const { id } of batch) this.#openIds.delete(id);
    });
    this.#open.add(open);
  }

  async #write(batch: readonly BatchRow[]): Promise<void> {
    const first = batch[0]!.row;
    const writeId = await writeIdFrom(`${this.#state.runId}:${first.number}`);
    const { results, failed } = await this.#sent(batch, writeId);
    if (failed === 0) return;
    const { onRefused } = this.#input;
    // Of texts some have no vector; whatever else is wrong is wrong with all of them.
    const isText = results.every((result) => result.ok || result.error.code === "invalidRequest");
    if (!onRefused || !isText) throw this.#refused(batch, results);
    for (const [at, result] of results.entries())
      if (!result.ok) onRefused({ place: batch[at]!.row.place, id: batch[at]!.id, why: result.error.message });
  }

  #sent(batch: readonly BatchRow[], writeId: string): Promise<VectorBatchAnswer> {
    const { vectors, read } = this.#input;
    if (read.textColumn === undefined) return vectors.upsertChunk(batch, { writeId });
    const texts = batch.map(({ id, text = "", metadataJson }) => ({ id, text, metadataJson }));
    return vectors.upsertTexts(texts, { writeId, chunkVectors: batch.length });
  }

  #refused(batch: readonly BatchRow[], results: readonly VectorBatchResult[]): CommandFailure {
    const at = results.findIndex(({ ok }) => !ok);
    const result = results[at]!;
    const reason = result.ok ? "" : `${result.error.code}: ${result.error.message}`;
    const others = results.filter(({ ok }) => !ok).length - 1;
    const more = others > 0 ? ` (and ${others} more of its batch)` : "";
    const { place, id } = batch[at]!.row;
    return new CommandFailure(`${this.#input.file.name} ${place}, id ${JSON.stringify(id)}: ${reason}${more}`);
  }

  #save(): void {
    this.#savedMs = performance.now();
    writeState(statePath(this.#input.file.name, KIND), { ...this.#state, doneRows: this.#mark.bytes });
  }
}

/** Gives the number of rows. The state file is deleted once all are acknowledged; after a failure it stays. */
export async function importVectors(input: VectorImport): Promise<number> {
  const state = startState(input);
  if (state.doneRows > 0) console.error(`going on after row ${state.doneRows}`);
  const rows = await new ImportRun(input, state).run();
  removeState(statePath(input.file.name, KIND));
  return rows;
}
