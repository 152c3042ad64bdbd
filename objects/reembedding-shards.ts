// The rows of a database's shards, and of those that are made beside them: what a re-embedding reads and writes, shard by shard.
// Guarantees: a row is brought over with its version and times; calls change nothing that a repetition would not. Must not: decide anything.
import type { DatabaseName } from "../src/vector/database/record.ts";
import { shardName } from "../src/vector/database/record.ts";
import type {
  CountAnswer,
  RowsAnswer,
  Shown,
  StatusAnswer,
  VectorAnswer,
  VectorInput,
  VectorRequest,
  VectorShown,
  WrittenAnswer,
} from "../src/wire/vector.ts";
import { readVectorAnswer } from "../src/wire/vector-answers.ts";
import { writeVectorCall } from "../src/wire/vector-requests.ts";
import type { Env } from "./env.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 10_000;
/** Rows of a page: with metadata of 64 KiB each still some MiB. */
const PAGE_ROWS = 100;

interface Answers {
  readonly get: RowsAnswer;
  readonly list: RowsAnswer;
  readonly count: CountAnswer;
  readonly upsert: WrittenAnswer;
  readonly delete: WrittenAnswer;
  readonly imports: StatusAnswer;
}

export class ShardSide {
  readonly #env: Env;
  readonly #database: DatabaseName;

  constructor(env: Env, database: DatabaseName) {
    this.#env = env;
    this.#database = database;
  }

  async #ask<R extends VectorRequest & { readonly kind: keyof Answers }>(
    shard: number,
    request: R,
  ): Promise<Answers[R["kind"]]> {
    const objects = this.#env.VECTOR_SHARD;
    const stub = objects.get(objects.idFromName(shardName(this.#database, shard)));
    const work = stub.call(writeVectorCall({ isPlaced: true, request }));
    const answer: VectorAnswer = readVectorAnswer(await withDeadline(work, CALL_TIMEOUT_MS, "VectorShard"));
    if (answer.kind === "error") throw new Error(`shard ${shard}: ${answer.code}: ${answer.message}`);
    return answer as Answers[R["kind"]];
  }

  async page(shard: number, cursor: Uint8Array): Promise<{ rows: readonly VectorShown[]; cursor: Uint8Array }> {
    const answer = await this.#ask(shard, { kind: "list", cursor, limit: PAGE_ROWS, shown: {} });
    return { rows: answer.rows.filter((row) => row !== null), cursor: answer.cursor };
  }

  async get(shard: number, ids: readonly string[], shown: Shown = {}): Promise<readonly (VectorShown | null)[]> {
    return ids.length === 0 ? [] : (await this.#ask(shard, { kind: "get", ids, shown })).rows;
  }

  /** Rows, and the revision at which they were counted. */
  async count(shard: number): Promise<{ count: number; revision: number }> {
    return this.#ask(shard, { kind: "count" });
  }

  /** Some import writes behind answers. */
  async imports(shard: number): Promise<boolean> {
    const { status } = await this.#ask(shard, { kind: "imports" });
    const open = new Set(["staged", "queued", "running"]);
    return (JSON.parse(status) as readonly { readonly state: string }[]).some(({ state }) => open.has(state));
  }

  async remove(shard: number, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#ask(shard, { kind: "delete", ids });
  }

  async put(shard: number, rows: readonly VectorInput[]): Promise<void> {
    if (rows.length === 0) return;
    const { results } = await this.#ask(shard, { kind: "upsert", rows });
    for (const result of results) if (result && "kind" in result) throw new Error(`${result.code}: ${result.message}`);
  }
}
