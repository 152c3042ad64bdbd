// A request to a configuration keyspace and its answer. The one way there for /v1/config, /v3 and what else fronts it.
// Guarantees: throws PublicErrors only for what the client must see; a write whose answer is lost is `unknownOutcome`.
import { withDeadline } from "../../objects/with-deadline.ts";
import { hexOf, sha256 } from "../access/api-key.ts";
import { ByteWriter } from "../wire/bytes.ts";
import type { ConfigAnswer, ConfigRequest, RangeRequest } from "../wire/config.ts";
import { readConfigAnswers } from "../wire/config-answers.ts";
import { isWriting, writeConfigCall, writeConfigRequest } from "../wire/config-requests.ts";
import { isErrorCode, PublicError } from "../wire/error-codes.ts";
import { BODY_HASH_BYTES } from "../wire/session.ts";
import type { Call } from "./call.ts";
import { COORDINATOR_DEADLINE_MS } from "./limits.ts";

/** Which keyspace. */
export interface KeyspaceName {
  readonly tenant: number;
  readonly namespace: string;
}

/** The answer kind that a request kind has. */
type AnswerTo<R extends ConfigRequest> = Extract<
  ConfigAnswer,
  { kind: R["kind"] extends `lease${string}` ? (R["kind"] extends "leases" ? "leases" : "lease") : R["kind"] }
>;

const REQUEST_OVERHEAD_BYTES = 256;

/** How old an answer to a range may be: a zone's copy may give it. */
export interface Freshness {
  readonly consistency: "linearizable" | "serializable";
  readonly maxStalenessMs?: number | undefined;
}

/** A range that may be a little old: from the zone's copy where there are such, else from the owner. */
export async function readConfig(
  call: Call,
  keyspace: KeyspaceName,
  request: RangeRequest,
  { consistency, maxStalenessMs }: Freshness,
): Promise<AnswerTo<RangeRequest>> {
  const { stubs, settings } = call.services;
  if (consistency === "linearizable" || !settings.config.serveFromFollowers) return callConfig(call, keyspace, request);
  const writer = new ByteWriter(REQUEST_OVERHEAD_BYTES);
  writeConfigCall(writer, { id: 0, request });
  const options = maxStalenessMs === undefined ? {} : { maxStalenessMs };
  try {
    const work = stubs.configFollower(keyspace.tenant, keyspace.namespace).read(writer.take(), options);
    const [first] = readConfigAnswers(await withDeadline(work, COORDINATOR_DEADLINE_MS, "ConfigFollower"));
    if (first?.answer.kind === "range") return first.answer;
  } catch (error) {
    call.services.log.warn("follower call failed", { requestId: call.requestId, route: call.route }, error);
  }
  // What a copy cannot answer (it is being filled, or holds less history), the owner can, or refuses for good.
  return callConfig(call, keyspace, request);
}

/** What makes a part of a request repeatable where one request is several writes. */
export interface WritePart {
  readonly writeId: Uint8Array;
  /** What must come again with the write id; where it is not the request itself. */
  readonly bodyHash: Uint8Array;
}

/** `part`, else `call.writeId` where it is known, makes a write repeatable. */
export async function callConfig<R extends ConfigRequest>(
  call: Call,
  { tenant, namespace }: KeyspaceName,
  request: R,
  part?: WritePart,
): Promise<AnswerTo<R>> {
  const writer = new ByteWriter(REQUEST_OVERHEAD_BYTES);
  const isWrite = isWriting(request);
  const writeId = isWrite ? (part?.writeId ?? call.writeId) : undefined;
  const bodyHash = part?.bodyHash ?? (writeId ? await hashOf(request) : undefined);
  writeConfigCall(writer, { id: 0, writeId, bodyHash, request });
  let frame: Uint8Array;
  try {
    const answer = call.services.stubs.configKeyspace(tenant, namespace).call(writer.take());
    frame = await withDeadline(answer, COORDINATOR_DEADLINE_MS, "ConfigKeyspace");
  } catch (error) {
    const { requestId, traceId, route } = call;
    call.services.log.warn("keyspace call failed", { requestId, traceId, route }, error);
    if (!isWrite) throw new PublicError("unavailable", "the keyspace did not answer");
    const message = "the keyspace did not answer: the write may or may not have been applied";
    throw new PublicError("unknownOutcome", message, call.writeId && { writeId: hexOf(call.writeId) });
  }
  const [first] = readConfigAnswers(frame);
  if (!first) throw new Error("the keyspace left the request unanswered");
  const { answer } = first;
  if (answer.kind !== "error") return answer as AnswerTo<R>;
  throw new PublicError(isErrorCode(answer.code) ? answer.code : "internal", answer.message, answer.details);
}

/** What a repeated write id must come with again. */
async function hashOf(request: ConfigRequest): Promise<Uint8Array> {
  const writer = new ByteWriter(REQUEST_OVERHEAD_BYTES);
  writeConfigRequest(writer, request);
  return (await sha256(writer.view())).subarray(0, BODY_HASH_BYTES);
}
