// Calls of a shard that came in one RPC: their answers leave together.
// Guarantees: where a read may be left out, none waits for one that takes long or fails, and all answers fit one message; a write is always
// answered. Must not: know what a call does.
import { isShortVectorRead } from "../src/wire/vector-requests.ts";

/** A read that takes longer waits for something. Ms. */
const HELD_MS = 20;
/** Answers of one RPC: a message holds 32 MiB, and one answer nearly as much. Bytes. */
const MAX_BYTES = 8 * 1024 * 1024;

/** Null = left out: its caller asks for it alone. */
export async function sharedAnswers(
  calls: readonly Uint8Array[],
  run: (bytes: Uint8Array) => Promise<Uint8Array>,
  mayLeaveOut: boolean,
): Promise<readonly (Uint8Array | null)[]> {
  if (!mayLeaveOut) return Promise.all(calls.map(run));
  const { promise: late, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => resolve(null), HELD_MS);
  const isRead = calls.map(isShortVectorRead);
  const work = calls.map((bytes, at) =>
    // It fails alone, too.
    isRead[at] ? Promise.race([run(bytes).catch(() => null), late]) : run(bytes),
  );
  const answers = await Promise.all(work).finally(() => clearTimeout(timer));
  let sum = 0;
  return answers.map((answer, at) => {
    if (!answer || (isRead[at] && sum + answer.length > MAX_BYTES)) return null;
    sum += answer.length;
    return answer;
  });
}
