// Internal causes → public codes. The one mapping; what is not named here is `internal`.
import { QueueFull } from "../../objects/turn-queue.ts";
import { DeadlineExceeded, withDeadline } from "../../objects/with-deadline.ts";
import { NOT_BORN } from "../cluster/birth.ts";
import { MalformedClock } from "../wire/clock.ts";
import { PublicError } from "../wire/error-codes.ts";
import { ADMIN_DEADLINE_MS } from "./limits.ts";

export function publicErrorOf(error: unknown): PublicError {
  if (error instanceof PublicError) return error;
  if (error instanceof MalformedClock) return new PublicError("malformedClock", error.message);
  if (error instanceof QueueFull) return new PublicError("overloaded", "too many changes wait; nothing was done");
  if (error instanceof DeadlineExceeded) return new PublicError("unavailable", error.message);
  if (error instanceof Error && error.message.includes(NOT_BORN))
    return new PublicError("unavailable", `${NOT_BORN}: the log of the leaders' process says why`);
  return new PublicError("internal", "an unexpected error; the request id finds it in the logs");
}

/** True for errors of the platform's RPC: the object is restarting, moving or overloaded. */
function isPlatformError(error: unknown): boolean {
  if (error instanceof DeadlineExceeded || error instanceof QueueFull) return true;
  if (!(error instanceof Error)) return false;
  const marks = error as { retryable?: boolean; overloaded?: boolean; durableObjectReset?: boolean };
  // Reset: it ended itself in the middle of the call, as one does whose data were erased.
  if (marks.retryable || marks.overloaded || marks.durableObjectReset) return true;
  return error.message.startsWith("internal error");
}

/** Awaits a call that changes nothing. */
export async function reading<T>(call: Promise<T>, target: string): Promise<T> {
  try {
    return await withDeadline(call, ADMIN_DEADLINE_MS, target);
  } catch (error) {
    if (error instanceof PublicError || !isPlatformError(error)) throw error;
    const unavailable = new PublicError("unavailable", `the ${target} cannot be reached`);
    unavailable.cause = error;
    throw unavailable;
  }
}

/** Awaits a call that changes something under a write id: after a failure nobody knows whether it did (DESIGN 1). */
export async function writing<T>(
  call: Promise<T>,
  target: string,
  { writeIdHex, deadlineMs = ADMIN_DEADLINE_MS }: { writeIdHex: string; deadlineMs?: number },
): Promise<T> {
  try {
    return await withDeadline(call, deadlineMs, target);
  } catch (error) {
    if (error instanceof PublicError || !isPlatformError(error)) throw error;
    const message = `the ${target} did not answer: the change may or may not have been made`;
    const unknown = new PublicError("unknownOutcome", message, { writeId: writeIdHex });
    unknown.cause = error;
    throw unknown;
  }
}
