// Requests to the Coordinator and its answers back: through the mailbox of this isolate, else as a frame by RPC.
// Guarantees: every request gets an answer or the whole call throws; a write whose answer is lost is `unknownOutcome`.
import { withDeadline } from "../../objects/with-deadline.ts";
import { hexOf } from "../access/api-key.ts";
import type { Caller } from "../access/types.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { clockToMap } from "../wire/clock.ts";
import { isErrorCode, PublicError } from "../wire/error-codes.ts";
import { readAnswers, type SessionAnswer, type SessionRequest, writeRequest } from "../wire/session.ts";
import type { Call } from "./call.ts";
import { COORDINATOR_DEADLINE_MS } from "./limits.ts";

const FRAME_OVERHEAD_BYTES = 256;

function frameOf(requests: readonly SessionRequest[]): Uint8Array {
  let capacity = FRAME_OVERHEAD_BYTES;
  for (const request of requests)
    capacity += (request.value?.length ?? 0) + request.key.length * 3 + FRAME_OVERHEAD_BYTES;
  const writer = new ByteWriter(capacity);
  for (const request of requests) writeRequest(writer, request);
  return writer.take();
}

/** Answers in the order of `requests`; ids are their indexes. Throws what the lost call means. */
export async function callCoordinator(
  call: Call,
  caller: Caller,
  requests: readonly SessionRequest[],
): Promise<SessionAnswer[]> {
  const { stubs, log } = call.services;
  let answers: SessionAnswer[];
  try {
    answers = await (stubs.mailbox.isOpen ? handOver(call, caller, requests) : callByFrame(call, caller, requests));
  } catch (error) {
    const { requestId, traceId, route } = call;
    log.warn("coordinator call failed", { requestId, traceId, route }, error);
    throw lostAnswer(call, requests);
  }
  for (let i = 0; i < requests.length; i++)
    if (!answers[i]) throw new Error(`the Coordinator left request ${i} unanswered`);
  return answers;
}

function handOver(
  { services, waitUntil }: Call,
  caller: Caller,
  requests: readonly SessionRequest[],
): Promise<SessionAnswer[]> {
  const { stubs, now } = services;
  const wake = (): Promise<void> => stubs.coordinator().work();
  return stubs.mailbox.send(caller, requests, { wake, waitUntil, now, deadlineMs: COORDINATOR_DEADLINE_MS });
}

async function callByFrame(call: Call, caller: Caller, requests: readonly SessionRequest[]): Promise<SessionAnswer[]> {
  const calling = call.services.stubs.coordinator().call(caller, frameOf(requests));
  const frame = await withDeadline(calling, COORDINATOR_DEADLINE_MS, "Coordinator");
  const answers: SessionAnswer[] = new Array(requests.length);
  for (const answer of readAnswers(frame)) answers[answer.id] = answer;
  return answers;
}

/** The id to repeat with is the call's: a batch's items derive theirs from it. */
function lostAnswer(call: Call, requests: readonly SessionRequest[]): PublicError {
  if (!call.writeId || requests.every(({ op }) => op === "get")) {
    return new PublicError("unavailable", "the coordinator did not answer");
  }
  const message = "the coordinator did not answer: the write may or may not have been applied";
  return new PublicError("unknownOutcome", message, { writeId: hexOf(call.writeId) });
}

/** A refused or failed request as the error its client gets. */
export function answerError(
  answer: Extract<SessionAnswer, { kind: "error" | "notFound" }>,
  writeId?: Uint8Array,
): PublicError {
  if (answer.kind === "notFound") {
    const vectorClock = clockToMap(answer.clock);
    const isEmpty = Object.keys(vectorClock).length === 0;
    return new PublicError("notFound", "no value is stored under this key", isEmpty ? {} : { vectorClock });
  }
  const code = isErrorCode(answer.code) ? answer.code : "internal";
  const details =
    writeId && code === "unknownOutcome" ? { ...answer.details, writeId: hexOf(writeId) } : answer.details;
  return new PublicError(code, answer.message, details);
}
