// A request to one shard of a vector database and its answer; and to all of its shards at once. The one way there for /v1/databases.
// Guarantees: throws PublicErrors for what the client must see, DatabaseGone where the shard's database is no more; a write whose
// answer is lost is `unknownOutcome`.
import type { VectorShardRpc } from "../../objects/vector-rpc.ts";
import { withDeadline } from "../../objects/with-deadline.ts";
import { hexOf, sha256 } from "../access/api-key.ts";
import { shardName } from "../vector/database/record.ts";
import { PublicError } from "../wire/error-codes.ts";
import { BODY_HASH_BYTES } from "../wire/session.ts";
import {
  type CountAnswer,
  type FoundAnswer,
  isGone,
  isVectorWrite,
  type RowsAnswer,
  type StatusAnswer,
  type VectorAnswer,
  type VectorRequest,
  type WithinAnswer,
  type WrittenAnswer,
} from "../wire/vector.ts";
import { readVectorAnswer } from "../wire/vector-answers.ts";
import { isShortVectorRead, writeVectorCall } from "../wire/vector-requests.ts";
import { type Call, scopeOf } from "./call.ts";
import { SHARD_DEADLINE_MS } from "./limits.ts";
import { readingOf } from "./vector-ask.ts";
import { readAnyCopy } from "./vector-copies.ts";
import { DatabaseGone, type KnownDatabase } from "./vector-databases.ts";
import { publicErrorFrom } from "./vector-failure.ts";
import { isSettled } from "./vector-maps.ts";
import { itemIdsOf } from "./write-identity.ts";

interface Answers {
  readonly upsert: WrittenAnswer;
  readonly update: WrittenAnswer;
  readonly delete: WrittenAnswer;
  readonly deleteWhere: WrittenAnswer;
  readonly get: RowsAnswer;
  readonly list: RowsAnswer;
  readonly count: CountAnswer;
  readonly search: FoundAnswer;
  readonly within: WithinAnswer;
  readonly importStage: StatusAnswer;
  readonly importStart: StatusAnswer;
  readonly importCancel: StatusAnswer;
  readonly imports: StatusAnswer;
  readonly status: StatusAnswer;
}

export type AnswerTo<R extends VectorRequest> = Answers[R["kind"]];

export interface ShardTarget {
  readonly database: KnownDatabase;
  readonly shard: number;
}

/** What makes a write repeatable at a shard. */
export interface ShardWrite {
  readonly writeId: Uint8Array;
  readonly bodyHash: Uint8Array;
}

/** `write`: of a writing request. */
export async function callShard<R extends VectorRequest>(
  call: Call,
  { database, shard }: ShardTarget,
  request: R,
  write?: ShardWrite,
): Promise<AnswerTo<R>> {
  const reading = readingOf(call);
  const bytes = writeVectorCall({ ...write, topology: database.topology, scope: scopeOf(call), request });
  const isWrite = isVectorWrite(request);
  const leader = async (): Promise<VectorAnswer> => {
    const { stubs, sharedReads } = call.services;
    const name = shardName(database, shard);
    const stub = (): VectorShardRpc => stubs.vectorShard(name);
    const { waitUntil } = call;
    const deadlineMs = isWrite ? SHARD_DEADLINE_MS : reading.deadlineMs;
    const work =
      sharedReads && isShortVectorRead(bytes)
        ? sharedReads.read(name, bytes, { stub, waitUntil, deadlineMs })
        : withDeadline(stub().call(bytes), deadlineMs, "VectorShard");
    return readVectorAnswer(await work);
  };
  const mayBeCopy = reading.consistency !== "strong" && (await areCopiesAsked(call, database, request));
  let answer: VectorAnswer;
  try {
    answer = await (mayBeCopy ? readAnyCopy(call, { database, shard, bytes }, leader) : leader());
  } catch (error) {
    if (error instanceof PublicError) throw error;
    const { requestId, traceId, route } = call;
    call.services.log.warn("shard call failed", { requestId, traceId, route, shard }, error);
    if (!isWrite) throw new PublicError("unavailable", `shard ${shard} of the database did not answer`);
    const message = `shard ${shard} of the database did not answer: the write may or may not have been applied`;
    throw new PublicError("unknownOutcome", message, call.writeId && { writeId: hexOf(call.writeId) });
  }
  if (answer.kind !== "error") reading.saw(database, shard, answer);
  if (answer.kind !== "error") return answer as AnswerTo<R>;
  if (isGone(answer)) throw new DatabaseGone();
  throw publicErrorFrom(answer);
}

/** The same request to every shard; their answers in order. One that does not answer fails the whole. */
export function callAllShards<R extends VectorRequest>(
  call: Call,
  database: KnownDatabase,
  request: R,
): Promise<readonly AnswerTo<R>[]> {
  return Promise.all(
    Array.from({ length: database.numShards }, (_, shard) => callShard(call, { database, shard }, request)),
  );
}

/** Answers of all shards, or of those that answered, with the places of the others. */
export interface PartialAnswers<A> {
  readonly answers: readonly (A & { readonly shard: number })[];
  readonly missing: readonly number[];
}

/** As {@link callAllShards}; with `isPartial` a shard that does not answer in time, or whose rows are damaged, is left out, not all of them. */
export async function callShards<R extends VectorRequest>(
  call: Call,
  database: KnownDatabase,
  { request, shards, isPartial }: { request: (shard: number) => R; shards: readonly number[]; isPartial: boolean },
): Promise<PartialAnswers<AnswerTo<R>>> {
  const asked = await Promise.all(
    shards.map(async (shard) => {
      try {
        return { ...(await callShard(call, { database, shard }, request(shard))), shard };
      } catch (error) {
        if (isPartial && error instanceof PublicError && LEFT_OUT.has(error.code)) return { error, shard };
        throw error;
      }
    }),
  );
  const missing = asked.flatMap((each) => ("error" in each ? [each] : []));
  // Nothing is no part of an answer.
  if (missing.length > 0 && missing.length === shards.length) throw missing[0]!.error;
  return {
    answers: asked.flatMap((each) => ("error" in each ? [] : [each])),
    missing: missing.map(({ shard }) => shard),
  };
}

/** What a copy answers, too; a scan for all that meets a threshold goes on over pages. */
const OF_COPIES: ReadonlySet<VectorRequest["kind"]> = new Set(["get", "list", "count", "search"]);
/**
 * Where vectors may be in other shards than their ids' only leaders know where, their tokens are not of the shard that was written to, and while
 * vectors move one copy may have heard of it and another one not.
 */
async function areCopiesAsked(call: Call, database: KnownDatabase, { kind }: VectorRequest): Promise<boolean> {
  if (!OF_COPIES.has(kind)) return false;
  if (database.sharding.strategy === "hash" && database.topology === 0) return true;
  return kind !== "get" && readingOf(call).consistency === "eventual" && (await isSettled(call, database));
}

/** Errors of one shard that say nothing about the others. */
const LEFT_OUT: ReadonlySet<string> = new Set(["unavailable", "dataCorrupt", "overloaded"]);

/**
 * Write ids for the calls that one request is at one shard: the first has the request's own. Each shard keeps its own record, so shards
 * need no ids of their own, and each finds another body under an id that it has seen.
 */
export async function shardWrites(call: Call, bytes: Uint8Array, count: number): Promise<readonly ShardWrite[]> {
  return writesOf(call.writeId!, await bodyHashOf(call, bytes), count);
}

/** As {@link shardWrites}. */
export async function writesOf(
  writeId: Uint8Array,
  bodyHash: Uint8Array,
  count: number,
): Promise<readonly ShardWrite[]> {
  if (count <= 1) return [{ writeId, bodyHash }];
  const more = await itemIdsOf(writeId, count - 1);
  return [writeId, ...more].map((id) => ({ writeId: id, bodyHash }));
}

/** What must come again with the write id: the request as it was sent. */
async function bodyHashOf(call: Call, bytes: Uint8Array): Promise<Uint8Array> {
  const head = new TextEncoder().encode(`${call.request.method}\0${call.path}\0${call.url.search}\0`);
  const all = new Uint8Array(head.length + bytes.length);
  all.set(head);
  all.set(bytes, head.length);
  return (await sha256(all)).subarray(0, BODY_HASH_BYTES);
}
