// `jade-db import`: writes every line of a JSONL file, resumable.
// Guarantees: a line's write id follows from the run and the line's number, so a resumed import applies each line once; lines of one
// key are written in their order; the state on disk never claims a line that is not acknowledged.
import { createHash, randomUUID } from "node:crypto";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { type Consistency, type JadeClient, writeIdFrom } from "../../client/index.ts";
import { UsageError } from "../exit-codes.ts";
import type { Line } from "../lines.ts";
import { parseEntry, readLines } from "./jsonl.ts";
import { Progress } from "./progress.ts";
import { type ImportState, readState, removeState, statePath, writeState } from "./state-file.ts";

const HEAD_BYTES = 64 * 1024;
const SAVE_INTERVAL_MS = 1000;
/** So many lines ahead are noted as perhaps sent, in one durable write. */
const RESERVED_LINES = 20_000;

export interface ImportOptions {
  readonly client: JadeClient;
  readonly url: string;
  readonly file: string;
  readonly concurrency: number;
  readonly consistency?: Consistency | undefined;
  readonly restart: boolean;
}

/** SHA-256 of the file's first 64 KiB. */
export function headHash(file: string): string {
  const bytes = Buffer.alloc(HEAD_BYTES);
  const descriptor = openSync(file, "r");
  try {
    const count = readSync(descriptor, bytes, 0, HEAD_BYTES, 0);
    return createHash("sha256").update(bytes.subarray(0, count)).digest("hex");
  } finally {
    closeSync(descriptor);
  }
}

/** The state to go on from; a new one when there is none. */
function startState(options: ImportOptions): ImportState {
  const { file, url } = options;
  const path = statePath(file, "import");
  const fileBytes = statSync(file).size;
  const head = headHash(file);
  const held = options.restart ? undefined : readState<ImportState>(path, "import");
  if (held && (held.fileBytes !== fileBytes || held.headHash !== head)) {
    throw new UsageError(
      `${file} changed since its import stopped at line ${held.doneLines}; say --restart to import it from its start`,
    );
  }
  if (held && held.url !== url) {
    throw new UsageError(`the import that stopped went to ${held.url}, not ${url}; say --restart to begin anew`);
  }
  const runId = randomUUID();
  return (
    held ?? { kind: "import", url, runId, fileBytes, headHash: head, doneLines: 0, doneBytes: 0, reservedLines: 0 }
  );
}

/** Up to which line everything is acknowledged, while lines are finished in any order. */
export class Watermark {
  lines: number;
  bytes: number;
  /** Finished lines above the mark → their end offset. */
  readonly #finished = new Map<number, number>();

  constructor(lines: number, bytes: number) {
    this.lines = lines;
    this.bytes = bytes;
  }

  finish({ number, endOffset }: Omit<Line, "text"> & Partial<Line>): void {
    this.#finished.set(number, endOffset);
    for (let end = this.#finished.get(this.lines + 1); end !== undefined; end = this.#finished.get(this.lines + 1)) {
      this.#finished.delete(++this.lines);
      this.bytes = end;
    }
  }
}

class ImportRun {
  readonly #options: ImportOptions;
  readonly #state: ImportState;
  readonly #mark: Watermark;
  readonly #progress: Progress;
  readonly #open = new Set<Promise<void>>();
  /** The last write of a key that is under way: the next one of that key waits for it. */
  readonly #lastOfKey = new Map<string, Promise<void>>();
  #reservedLines: number;
  #savedMs = performance.now();
  #failure: { readonly error: unknown; readonly at?: string } | undefined;

  constructor(options: ImportOptions, state: ImportState) {
    this.#options = options;
    this.#state = state;
    this.#mark = new Watermark(state.doneLines, state.doneBytes);
    this.#progress = new Progress({ verb: "imported", totalBytes: state.fileBytes });
    this.#reservedLines = state.reservedLines;
  }

  async run(): Promise<number> {
    const { file, concurrency } = this.#options;
    const { doneBytes, doneLines } = this.#state;
    try {
      for await (const line of readLines(file, { offset: doneBytes, lineNumber: doneLines })) {
        if (this.#failure) break;
        this.#start(line);
        if (this.#open.size >= concurrency) await Promise.race(this.#open);
        this.#saveSometimes();
      }
    } catch (error) {
      this.#failure ??= { error };
    }
    await Promise.all(this.#open);
    this.#progress.finish(this.#mark.lines, this.#mark.bytes);
    this.#save();
    if (!this.#failure) return this.#mark.lines;
    if (this.#failure.at) console.error(`stopped at ${this.#failure.at}`);
    throw this.#failure.error;
  }

  #start(line: Line): void {
    const entry = parseEntry(this.#options.file, line);
    if (entry === undefined) {
      this.#mark.finish(line);
      return;
    }
    const mayHaveBeenSent = line.number <= this.#state.reservedLines;
    if (line.number > this.#reservedLines) {
      this.#reservedLines = line.number + RESERVED_LINES;
      this.#save();
    }
    const before = this.#lastOfKey.get(entry.key);
    const write = this.#write({ ...entry, line, before, mayHaveBeenSent }).catch((error: unknown) => {
      this.#failure ??= { error, at: `${this.#options.file} line ${line.number}, key ${JSON.stringify(entry.key)}` };
    });
    this.#open.add(write);
    this.#lastOfKey.set(entry.key, write);
    void write.then(() => {
      this.#open.delete(write);
      if (this.#lastOfKey.get(entry.key) === write) this.#lastOfKey.delete(entry.key);
    });
  }

  async #write(input: {
    readonly key: string;
    readonly json: string;
    readonly line: Line;
    readonly before: Promise<void> | undefined;
    readonly mayHaveBeenSent: boolean;
  }): Promise<void> {
    const { key, json, line, before, mayHaveBeenSent } = input;
    const writeId = await writeIdFrom(`${this.#state.runId}:${line.number}`);
    await before;
    if (before && this.#failure) return; // the earlier line of this key may have failed: keep their order
    const { client, consistency } = this.#options;
    await client.kv.putRaw(key, json, { writeId, consistency, mayHaveBeenSent });
    this.#mark.finish(line);
    this.#progress.update(this.#mark.lines, this.#mark.bytes);
  }

  #saveSometimes(): void {
    if (performance.now() - this.#savedMs >= SAVE_INTERVAL_MS) this.#save();
  }

  #save(): void {
    this.#savedMs = performance.now();
    const { lines: doneLines, bytes: doneBytes } = this.#mark;
    const state = { ...this.#state, doneLines, doneBytes, reservedLines: this.#reservedLines };
    writeState(statePath(this.#options.file, "import"), state);
  }
}

/** Gives the number of lines. The state file is deleted once all are acknowledged; after a failure it stays. */
export async function importFile(options: ImportOptions): Promise<number> {
  const state = startState(options);
  if (state.doneLines > 0) console.error(`going on after line ${state.doneLines}`);
  const lines = await new ImportRun(options, state).run();
  removeState(statePath(options.file, "import"));
  return lines;
}
