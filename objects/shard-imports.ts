// Imports into a shard of vectors go on behind calls: one commit a turn; what must wait is tried again. Where rows are placed by metadata, values or
// a changed number of shards they go the way of a write, under a write id of their own.
import { sha256 } from "../src/access/api-key.ts";
import type { BehindSearches } from "../src/vector/shard/behind-searches.ts";
import type { ImportChunk } from "../src/vector/shard/import-queue.ts";
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { VectorAnswer, VectorCall, VectorFailure } from "../src/wire/vector.ts";

/** Rows of an import that find no room are tried again after this. Ms. */
const IMPORT_RETRY_MS = 200;
/** What is wrong with a row itself; anything else passes. */
const OF_A_ROW: ReadonlySet<string> = new Set(["invalidRequest", "payloadTooLarge"]);

type Place = (call: VectorCall) => Promise<VectorAnswer>;

export interface ShardImportsOptions {
  /** Undefined = there is no shard. */
  readonly desk: () => ShardDesk | undefined;
  /** Undefined = rows belong to the shard that took them. */
  readonly place: () => Place | undefined;
  readonly behind: BehindSearches;
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
    this.#options.behind.add("write", () => this.#slice(desk));
  }

  #slice(desk: ShardDesk): void {
    const place = this.#options.place();
    if (place && this.#options.desk() === desk) return void this.#placed(desk, place);
    this.#ended(desk, () => desk.importNext());
  }

  /** By the placer, which waits for other shards. */
  async #placed(desk: ShardDesk, place: Place): Promise<void> {
    let isApplied = false;
    try {
      isApplied = await placedNext(desk, place, () => this.#options.desk() !== desk);
    } catch (error) {
      this.#isRunning = false;
      return this.#options.onFailed(error);
    }
    this.#ended(desk, () => isApplied);
  }

  #ended(desk: ShardDesk, run: () => boolean): void {
    this.#isRunning = false;
    if (this.#options.desk() !== desk) return;
    let mustWait = false;
    try {
      mustWait = !run();
    } catch (error) {
      return this.#options.onFailed(error);
    }
    this.#options.onTurn();
    if (!desk.imports.isDue || this.#isRunning) return;
    this.#isRunning = true;
    if (mustWait) setTimeout(() => this.#slice(desk), IMPORT_RETRY_MS);
    else this.#options.behind.add("write", () => this.#slice(desk));
  }
}

/** The next rows, by the placer; false = there are none, or some must wait: these alone are tried again. */
async function placedNext(desk: ShardDesk, place: Place, isOver: () => boolean): Promise<boolean> {
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
