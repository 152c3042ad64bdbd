// The file next to an import or export that lets it go on where it stopped.
// Guarantees: it is replaced whole and is durable before the call returns.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import type { SkippedData } from "../../client/index.ts";
import { UsageError } from "../exit-codes.ts";

export interface ImportState {
  readonly kind: "import";
  readonly url: string;
  /** Random; every line's write id is made of it and the line's number. */
  readonly runId: string;
  readonly fileBytes: number;
  /** SHA-256 of the file's first 64 KiB. */
  readonly headHash: string;
  /** All lines up to here are acknowledged. */
  readonly doneLines: number;
  readonly doneBytes: number;
  /** Lines up to here may have been sent: a resumed run marks them as repeated. */
  readonly reservedLines: number;
}

export interface ExportState {
  readonly kind: "export";
  readonly url: string;
  /** What the next page is asked with. */
  readonly cursor: string;
  /** The file up to here is whole and durable. */
  readonly doneBytes: number;
  readonly doneLines: number;
  /** What was left out so far. */
  readonly skipped?: SkippedData;
}

/** Of vectors: rows are counted, since not every format can be read from its middle. */
export interface VectorImportState {
  readonly kind: "import-vectors";
  /** Server, namespace and database. */
  readonly target: string;
  /** Random; every batch's write id is made of it and its first row's number. */
  readonly runId: string;
  readonly fileBytes: number;
  readonly headHash: string;
  readonly batchRows: number;
  /** All rows up to here are acknowledged; a batch ends here. */
  readonly doneRows: number;
}

export interface VectorExportState {
  readonly kind: "export-vectors";
  readonly target: string;
  readonly cursor: string;
  /** File and sidecar up to here are whole and durable. */
  readonly doneBytes: number;
  readonly sidecarBytes: number;
  readonly doneRows: number;
}

type State = ImportState | ExportState | VectorImportState | VectorExportState;

export function statePath(file: string, kind: State["kind"]): string {
  return `${file}.jade-${kind}`;
}

export function readState<T extends State>(path: string, kind: T["kind"]): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const state = JSON.parse(text) as T;
    if (state.kind === kind) return state;
  } catch {
    // Told below, the same as for a file of another kind.
  }
  throw new UsageError(`${path} is not the state of an ${kind.replace("-", " of ")}; delete it or say --restart`);
}

export function writeState(path: string, state: State): void {
  const aside = `${path}.tmp`;
  const file = openSync(aside, "w");
  try {
    writeSync(file, `${JSON.stringify(state)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, path);
}

export function removeState(path: string): void {
  rmSync(path, { force: true });
}
