// A request to a configuration keyspace and its answer. The one way there for /v1/config, /v3 and what else fronts it.
// Guarantees: throws PublicErrors only for what the client must see; a write whose answer is lost is `unknownOutcome`.
import { evenIfBegunAnew } from "../../objects/began-anew.ts";
import type { ConfigFollowerRpc } from "../../objects/rpc.ts";
import { withDeadline } from "../../objects/with-deadline.ts";
import { hexOf, sha256 } from "../access/api-key.ts";
import { mostAnswerBytes } from "../config/answer-bound.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import type { ConfigAnswer, ConfigFailure, ConfigRequest, RangeRequest } from "../wire/config.ts";
import { readConfigAnswer, readConfigAnswers } from "../wire/config-answers.ts";
import {
  type ConfigCall,
  isWriting,
  writeConfigCall,
  writeConfigCallBody,
  writeConfigRequest,
} from "../wire/config-requests.ts";
import { isErrorCode, PublicError } from "../wire/error-codes.ts";
import { BODY_HASH_BYTES, type CopyAge } from "../wire/session.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";
import { COORDINATOR_DEADLINE_MS, MAX_GATHERED_ANSWER_BYTES } from "./limits.ts";
import type { Stubs } from "./stubs.ts";

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
  const { tenant, namespace } = keyspace;
  const { stubs, settings } = call.services;
  const isCopied = consistency !== "linearizable" && settings.config.serveFromFollowers;
  if (!isCopied || !(await stubs.hasNamespace(tenant, namespace))) return callConfig(call, keyspace, request);
  const age = { maxStalenessMs };
  try {
    const answer = canGather(call, tenant, request)
      ? await askGathered(call, namespace, { request }, age)
      : await askCopy(stubs.configFollower(tenant, namespace), request, age);
    if (answer?.kind === "range") return answer;
  } catch (error) {
    call.services.log.warn("follower call failed", { requestId: call.requestId, route: call.route }, error);
  }
  // What a copy cannot answer (it is being filled, or holds less history), the owner can, or refuses for good.
  return callConfig(call, keyspace, request);
}

async function askCopy(copy: ConfigFollowerRpc, request: RangeRequest, age: CopyAge) {
  const writer = new ByteWriter(REQUEST_OVERHEAD_BYTES);
  writeConfigCall(writer, { id: 0, request });
  const work = copy.read(writer.take(), age);
  const [first] = readConfigAnswers(await withDeadline(work, COORDINATOR_DEADLINE_MS, "ConfigFollower"));
  return first?.answer;
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
  const isWrite = isWriting(request);
  const writeId = isWrite ? (part?.writeId ?? call.writeId) : undefined;
  const bodyHash = part?.bodyHash ?? (writeId ? await hashOf(request) : undefined);
  const asked = { writeId, bodyHash, request };
  let answer: ConfigAnswer | ConfigFailure;
  try {
    const gathered = canGather(call, tenant, request) ? await askGathered(call, namespace, asked) : undefined;
    // Nothing was done where the answers of all that travelled together were too long.
    const isLeftOut = gathered?.kind === "error" && gathered.code === "overloaded" && !isWrite;
    answer = gathered && !isLeftOut ? gathered : await askAlone(call, { tenant, namespace }, asked);
  } catch (error) {
    const { requestId, traceId, route } = call;
    call.services.log.warn("keyspace call failed", { requestId, traceId, route }, error);
    if (!isWrite) throw new PublicError("unavailable", "the keyspace did not answer");
    const message = "the keyspace did not answer: the write may or may not have been applied";
    throw new PublicError("unknownOutcome", message, call.writeId && { writeId: hexOf(call.writeId) });
  }
  if (answer.kind !== "error") return answer as AnswerTo<R>;
  throw new PublicError(isErrorCode(answer.code) ? answer.code : "internal", answer.message, answer.details);
}

type Asked = Omit<ConfigCall, "id">;

/** A frame of calls to the owner of a keyspace, whether it is the one of before a restore or of after. */
export function callKeyspace(
  stubs: Stubs,
  { tenant, namespace, isWrite }: KeyspaceName & { readonly isWrite: boolean },
  frame: Uint8Array,
): Promise<Uint8Array> {
  const ask = async (): Promise<Uint8Array> => {
    const object = isWrite
      ? stubs.configKeyspace(tenant, namespace)
      : await stubs.configKeyspaceToRead(tenant, namespace);
    return object.call(frame);
  };
  return withDeadline(evenIfBegunAnew(ask), COORDINATOR_DEADLINE_MS, "ConfigKeyspace");
}

/** One RPC of its own. */
async function askAlone(
  { services }: Call,
  { tenant, namespace }: KeyspaceName,
  asked: Asked,
): Promise<ConfigAnswer | ConfigFailure> {
  const writer = new ByteWriter(REQUEST_OVERHEAD_BYTES);
  writeConfigCall(writer, { id: 0, ...asked });
  const isWrite = isWriting(asked.request);
  const answers = await callKeyspace(services.stubs, { tenant, namespace, isWrite }, writer.take());
  const [first] = readConfigAnswers(answers);
  if (!first) throw new Error("the keyspace left the request unanswered");
  return first.answer;
}

/** What is short shares its way, through this isolate's memory to the Coordinator and in one RPC from there with all that came meanwhile. */
function canGather({ services, principal }: Call, tenant: number, request: ConfigRequest): boolean {
  if (!services.stubs.mailbox.isOpen || mostAnswerBytes(request) > MAX_GATHERED_ANSWER_BYTES) return false;
  return principal?.kind === "tenant" && principal.caller.tenant === tenant;
}

async function askGathered(
  { services, principal, waitUntil }: Call,
  namespace: string,
  asked: Asked,
  copied?: CopyAge,
): Promise<ConfigAnswer | ConfigFailure> {
  const { stubs, now } = services;
  const writer = new ByteWriter(REQUEST_OVERHEAD_BYTES);
  writeConfigCallBody(writer, asked);
  const request = { id: 0, op: "config", key: namespace, value: writer.take(), copied } as const;
  const wake = (): Promise<void> => stubs.coordinator().work();
  const { caller } = principal as TenantPrincipal;
  const deadlineMs = COORDINATOR_DEADLINE_MS;
  const [answer] = await stubs.mailbox.send(caller, [request], { wake, waitUntil, now, deadlineMs });
  if (answer?.kind === "error") {
    if (answer.code === "unavailable" || answer.code === "unknownOutcome") throw new Error(answer.message);
    return answer;
  }
  if (answer?.kind !== "config") throw new Error("the Coordinator left the request unanswered");
  return readConfigAnswer(new ByteReader(answer.body));
}

/** What a repeated write id must come with again. */
async function hashOf(request: ConfigRequest): Promise<Uint8Array> {
  const writer = new ByteWriter(REQUEST_OVERHEAD_BYTES);
  writeConfigRequest(writer, request);
  return (await sha256(writer.view())).subarray(0, BODY_HASH_BYTES);
}
