// Imports into a shard of vectors go on behind calls: one commit a turn; what must wait is tried again. Where rows are placed by metadata, values or
// a changed number of shards they go the way of a write, under a write id of their own.
import { sha256 } from "../src/access/api-key.ts";
import type { ImportChunk } from "../src/vector/shard/import-queue.ts";
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { VectorAnswer, VectorCall, VectorFailure } from "../src/wire/vector.ts";

/** Rows of an import that find no room are tried again after this. Ms. */
const IMPORT_RETRY_MS = 200;
/** What is wrong with a row itself; anything else passes. */
const OF_A_ROW: ReadonlySet<string> = new Set(["invalidRequest", "payloadTooLarge"]);

export interface ShardImportsOptions {
  /** Undefined = there is no shard. */
  readonly desk: () => ShardDesk | undefined;
  /** Undefined = rows belong to the shard that took them. */
  readonly place: () => ((call: VectorCall) => Promise<VectorAnswer>) | undefined;
  readonly onBegun: () => void;
  readonly onTurn: () => void;
  /** Half a turn may be in memory: what is stored is the truth. */
  readonly onFailed: (error: unknown) => void;
}

export class ShardImports {
  readonly #options: ShardImportsOptions;
  #isRunning = false;

  constructor(options: ShardImportsOptions) {
    this.#options = options;
  }

  /** Begins what is due. */
  goOn(): void {
    const desk = this.#options.desk();
    if (this.#isRunning || !desk?.imports.isDue) return;
    this.#isRunning = true;
    this.#options.onBegun();
    setTimeout(() => void this.#slice(desk), 0);
  }

  async #slice(desk: ShardDesk): Promise<void> {
    const isOver = (): boolean => this.#options.desk() !== desk;
    let delayMs = 0;
    try {
      const place = this.#options.place();
      const isApplied = !isOver() && (place ? await placedNext(desk, place, isOver) : desk.importNext());
      if (!isApplied) delayMs = IMPORT_RETRY_MS;
    } catch (error) {
      this.#isRunning = false;
      return this.#options.onFailed(error);
    }
    this.#isRunning = false;
    if (isOver()) return;
    this.#options.onTurn();
    if (!desk.imports.isDue || this.#isRunning) return;
    this.#isRunning = true;
    setTimeout(() => void this.#slice(desk), delayMs);
  }
}

/** The next rows, by the placer; false = there are none, or some must wait: these alone are tried again. */
async function placedNext(
  desk: ShardDesk,
  place: (call: VectorCall) => Promise<VectorAnswer>,
  isOver: () => boolean,
): Promise<boolean> {
  const chunk = desk.imports.next(Date.now());
  if (!chunk) return false;
  const rows = chunk.rows.map(({ row }) => row);
  const answer =
    rows.length === 0
      ? undefined
      : await place({ ...(await identityOf(chunk)), request: { kind: "upsert", rows, durability: "sync" } });
  if (isOver()) return false;
  const failures = chunk.rows.map((_, at) => failureAt(answer, at));
  const left = chunk.rows.filter((_, at) => failures[at] && !OF_A_ROW.has(failures[at].code));
  const errors = chunk.rows.flatMap(({ index, row: { id } }, at) => {
    const failure = failures[at];
    if (!failure || !OF_A_ROW.has(failure.code)) return [];
    const message = failure.message.replace(/^vectors\[\d+\]/, `vectors[${index}]`);
    return [{ index, id, code: failure.code, message }];
  });
  if (left.length < chunk.rows.length || left.length === 0) desk.imports.applied(chunk, errors, left);
  const [first] = failures.filter((failure) => failure && !OF_A_ROW.has(failure.code));
  if (first) desk.imports.waits(chunk, first.message);
  return left.length === 0;
}

function failureAt(answer: VectorAnswer | undefined, at: number): VectorFailure | undefined {
  if (!answer) return undefined;
  if (answer.kind === "error") return answer;
  const result = answer.kind === "written" ? answer.results[at] : undefined;
  return result && "kind" in result ? result : undefined;
}

/** A chunk that a crash cut off is answered as the first time; what is left of one is another write. */
async function identityOf({ job, chunk, rows }: ImportChunk) {
  const hash = await sha256(`jade-import\0${job}\0${chunk}\0${rows.length}\0${rows[0]!.index}`);
  return { writeId: hash.slice(0, 16), bodyHash: hash.slice(16, 24) };
}
