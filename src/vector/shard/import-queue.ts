// Imports that a shard has taken but not applied yet: their rows wait on disk, in chunks, and are applied one after another behind calls.
// Guarantees: a job's rows are there whole before any is applied; a chunk leaves in the commit that applies its rows, so each is applied once;
// bounded in jobs, bytes, kept errors and age. Must not: apply rows, or know time.
import { drain } from "../../storage/drain.ts";
import type { SqlStorage } from "../../storage/types.ts";
import { ByteReader, ByteWriter } from "../../wire/bytes.ts";
import type { ImportError, ImportRow } from "../../wire/vector.ts";
import { VectorRefusal } from "../failure.ts";
import { CorruptSegment, type Crc32c } from "../segment/directory.ts";
import {
  IMPORT_CHUNK_BYTES,
  KEPT_IMPORT_MS,
  MAX_IMPORT_BYTES,
  MAX_IMPORT_ERRORS,
  MAX_KEPT_IMPORTS,
  MAX_WAITING_IMPORTS,
  STAGED_IMPORT_MS,
} from "./limits.ts";

/** Staged: not all of it is there yet. Failed: its stored rows are damaged. */
export type ImportState = "staged" | "queued" | "running" | "done" | "failed" | "cancelled";

/** A job as the shard shows it. */
export interface ShownImport {
  readonly job: string;
  readonly state: ImportState;
  readonly rows: number;
  readonly stored: number;
  readonly failed: number;
  /** The first of them. */
  readonly errors: readonly ImportError[];
  /** Why it does not go on for the time being. */
  readonly waitsFor?: string;
  readonly createdAtMs: number;
  readonly endedAtMs: number | null;
}

interface Job {
  readonly job: string;
  readonly bodyHash: string;
  state: ImportState;
  rows: number;
  bytes: number;
  stored: number;
  failed: number;
  errors: ImportError[];
  waitsFor?: string;
  readonly createdAtMs: number;
  endedAtMs: number | null;
}

/** Rows of one commit. */
export interface ImportChunk {
  readonly job: string;
  readonly chunk: number;
  readonly rows: readonly ImportRow[];
}

/** A part of a job's rows, as it is sent. Parts may come again. */
export interface StagedPart {
  readonly job: string;
  readonly bodyHash: string;
  readonly part: number;
  readonly rows: readonly ImportRow[];
  /** Items that were refused before they had a row. */
  readonly refused: readonly ImportError[];
}

/** Lengths and place of a row. */
const ROW_OVERHEAD_BYTES = 6;
/** Chunks of a part: a part is a message, which holds fewer. */
const CHUNKS_A_PART = 10_000;
const encoder = new TextEncoder();

export class ImportQueue {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  /** By age. */
  readonly #jobs = new Map<string, Job>();

  constructor(sql: SqlStorage, crc32c: Crc32c) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    const rows = sql.exec<{ text: string; crc: number }>("SELECT text, crc FROM vector_imports ORDER BY seq");
    for (const { text, crc } of rows) {
      if (crc !== this.#crc32c(encoder.encode(text))) throw new CorruptSegment("an import fails its CRC32C");
      const job = JSON.parse(text) as Job;
      this.#jobs.set(job.job, job);
    }
  }

  /** There are jobs to go on with. */
  get isDue(): boolean {
    return [...this.#jobs.values()].some(isWaiting);
  }

  #save(job: Job): void {
    const text = JSON.stringify(job);
    const crc = this.#crc32c(encoder.encode(text));
    drain(
      this.#sql.exec(
        "INSERT INTO vector_imports (job, crc, text) VALUES (?, ?, ?) ON CONFLICT (job) DO UPDATE SET crc = excluded.crc, text = excluded.text",
        job.job,
        crc,
        text,
      ),
    );
  }

  #forget(job: Job): void {
    drain(this.#sql.exec("DELETE FROM vector_import_rows WHERE job = ?", job.job));
    drain(this.#sql.exec("DELETE FROM vector_imports WHERE job = ?", job.job));
    this.#jobs.delete(job.job);
  }

  /** Jobs that nobody started, and those that ended long ago. */
  #expire(nowMs: number): void {
    const ended = [...this.#jobs.values()].filter(({ endedAtMs }) => endedAtMs !== null);
    const excess = new Set(ended.slice(0, Math.max(0, ended.length - MAX_KEPT_IMPORTS)));
    for (const job of this.#jobs.values()) {
      const isAbandoned = job.state === "staged" && job.createdAtMs + STAGED_IMPORT_MS < nowMs;
      const isOld = job.endedAtMs !== null && job.endedAtMs + KEPT_IMPORT_MS < nowMs;
      if (isAbandoned || isOld || excess.has(job)) this.#forget(job);
    }
  }

  /** @throws VectorRefusal `overloaded` when the queue is full, or for another body under the job's id */
  stage({ job: id, bodyHash, part, rows, refused }: StagedPart, nowMs: number): void {
    this.#expire(nowMs);
    const held = this.#jobs.get(id);
    if (held && held.bodyHash !== bodyHash)
      throw new VectorRefusal("idempotencyKeyReused", "this write id was used before with another import");
    // Sent again after it was started.
    if (held && held.state !== "staged") return;
    if (held && this.#hasPart(id, part)) return;
    const bytes = bytesOf(rows);
    const waiting = [...this.#jobs.values()].filter((job) => job.endedAtMs === null);
    if (!held && waiting.length >= MAX_WAITING_IMPORTS)
      throw full(`${waiting.length} imports wait at the shard, which is the limit`);
    if (waiting.reduce((sum, job) => sum + job.bytes, bytes) > MAX_IMPORT_BYTES)
      throw full(`imports that wait at the shard are over ${MAX_IMPORT_BYTES} bytes`);
    const job = held ?? newJob(id, bodyHash, nowMs);
    this.#writeChunks(id, part, rows);
    job.rows += rows.length + refused.length;
    job.bytes += bytes;
    addErrors(job, refused);
    this.#jobs.set(id, job);
    this.#save(job);
  }

  #hasPart(job: string, part: number): boolean {
    const [first, next] = [part * CHUNKS_A_PART, (part + 1) * CHUNKS_A_PART];
    const query = "SELECT count(*) AS n FROM vector_import_rows WHERE job = ? AND chunk >= ? AND chunk < ?";
    return [...this.#sql.exec<{ n: number }>(query, job, first, next)][0]!.n > 0;
  }

  #writeChunks(job: string, part: number, rows: readonly ImportRow[]): void {
    let chunk = part * CHUNKS_A_PART;
    let [from, bytes] = [0, 0];
    for (const [at, { row }] of rows.entries()) {
      const own = ROW_OVERHEAD_BYTES + row.id.length + row.values.length + row.metadata.length;
      if (at > from && bytes + own > IMPORT_CHUNK_BYTES) {
        this.#insertChunk(job, chunk++, rows.slice(from, at));
        [from, bytes] = [at, 0];
      }
      bytes += own;
    }
    // A part without rows is remembered, too.
    this.#insertChunk(job, chunk, rows.slice(from));
  }

  #insertChunk(job: string, chunk: number, rows: readonly ImportRow[]): void {
    const writer = new ByteWriter(IMPORT_CHUNK_BYTES);
    for (const row of rows) writeRow(writer, row);
    const bytes = writer.view();
    const query = "INSERT INTO vector_import_rows (job, chunk, crc, bytes) VALUES (?, ?, ?, ?)";
    drain(this.#sql.exec(query, job, chunk, this.#chunkCrc(job, chunk, bytes), bytes));
  }

  #chunkCrc(job: string, chunk: number, bytes: Uint8Array): number {
    return this.#crc32c(bytes, this.#crc32c(encoder.encode(`${job}/${chunk}`)));
  }

  /** All parts are there. @throws VectorRefusal */
  start(id: string, parts: number): void {
    const job = this.#jobs.get(id);
    for (let part = 0; part < parts; part++) {
      if (job?.state !== "staged" || this.#hasPart(id, part)) continue;
      throw new VectorRefusal("unavailable", "a part of the import is not there");
    }
    if (!job) throw new VectorRefusal("unavailable", "the import is not there");
    if (job.state !== "staged") return;
    job.state = "queued";
    this.#save(job);
  }

  /** What was applied stays. One that was not started leaves nothing. */
  cancel(id: string, nowMs: number): void {
    const job = this.#jobs.get(id);
    if (job?.state === "staged") this.#forget(job);
    else if (job && isWaiting(job)) this.#end(job, "cancelled", nowMs);
  }

  /** Forgets one that was not started; another request may have started it meanwhile. */
  unstage(id: string): void {
    const job = this.#jobs.get(id);
    if (job?.state === "staged") this.#forget(job);
  }

  #end(job: Job, state: ImportState, nowMs: number): void {
    job.state = state;
    job.endedAtMs = nowMs;
    job.bytes = 0;
    drain(this.#sql.exec("DELETE FROM vector_import_rows WHERE job = ?", job.job));
    delete job.waitsFor;
    this.#save(job);
  }

  /** The next rows of the oldest job; jobs without any end here, and those whose rows are damaged. */
  next(nowMs: number): ImportChunk | undefined {
    for (const job of this.#jobs.values()) {
      if (!isWaiting(job)) continue;
      const query = "SELECT chunk, crc, bytes FROM vector_import_rows WHERE job = ? ORDER BY chunk LIMIT 1";
      const [row] = [...this.#sql.exec<{ chunk: number; crc: number; bytes: ArrayBuffer }>(query, job.job)];
      const isWhole = row && row.crc === this.#chunkCrc(job.job, row.chunk, new Uint8Array(row.bytes));
      if (row && isWhole) return readChunk(job.job, row.chunk, new Uint8Array(row.bytes));
      if (row) addErrors(job, [{ index: 0, id: "", code: "dataCorrupt", message: "rows that waited are damaged" }]);
      this.#end(job, row ? "failed" : "done", nowMs);
    }
    return undefined;
  }

  /** The chunk was applied, in this turn, but for `left`: that stays. One that was cancelled meanwhile has nothing to tell. */
  applied(
    { job: id, chunk, rows }: ImportChunk,
    errors: readonly ImportError[],
    left: readonly ImportRow[] = [],
  ): void {
    const job = this.#jobs.get(id);
    if (!job || !isWaiting(job)) return;
    drain(this.#sql.exec("DELETE FROM vector_import_rows WHERE job = ? AND chunk = ?", id, chunk));
    if (left.length > 0) this.#insertChunk(id, chunk, left);
    job.state = "running";
    delete job.waitsFor;
    job.bytes -= bytesOf(rows) - bytesOf(left);
    job.stored += rows.length - left.length - errors.length;
    addErrors(job, errors);
    this.#save(job);
  }

  /** The chunk could not be applied for now. Not stored: a restart tries it again. */
  waits({ job: id }: ImportChunk, why: string): void {
    const job = this.#jobs.get(id);
    if (job && isWaiting(job)) job.waitsFor = why;
  }

  /** All, the youngest first; or one. */
  list(id?: string): readonly ShownImport[] {
    const all = [...this.#jobs.values()].filter(({ job }) => id === undefined || job === id).reverse();
    return all.map(({ bodyHash: _hash, bytes: _bytes, ...shown }) => shown);
  }
}

function bytesOf(rows: readonly ImportRow[]): number {
  return rows.reduce((sum, { row }) => sum + row.values.length + row.metadata.length, 0);
}

function writeRow(writer: ByteWriter, { index, row }: ImportRow): void {
  writer.varint(index);
  writer.string(row.id);
  writer.bytes(row.values);
  writer.bytes(row.metadata);
}

function readChunk(job: string, chunk: number, bytes: Uint8Array): ImportChunk {
  const reader = new ByteReader(bytes);
  const rows: ImportRow[] = [];
  while (!reader.done) {
    const index = reader.varint();
    rows.push({ index, row: { id: reader.string(), values: reader.bytes(), metadata: reader.bytes() } });
  }
  return { job, chunk, rows };
}

function isWaiting({ state }: Job): boolean {
  return state === "queued" || state === "running";
}

function newJob(job: string, bodyHash: string, createdAtMs: number): Job {
  const counts = { rows: 0, bytes: 0, stored: 0, failed: 0, errors: [] };
  return { job, bodyHash, state: "staged", ...counts, createdAtMs, endedAtMs: null };
}

function addErrors(job: Job, errors: readonly ImportError[]): void {
  job.failed += errors.length;
  job.errors = [...job.errors, ...errors].slice(0, MAX_IMPORT_ERRORS);
}

function full(message: string): VectorRefusal {
  return new VectorRefusal("overloaded", `${message}; nothing was stored, retry`);
}
