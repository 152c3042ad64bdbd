// Answers of a keyspace that no desk gives, and waiting for one. Must not: hold state.
import { failureOf } from "../src/config/desk.ts";
import { ConfigRefusal } from "../src/config/failure.ts";
import { CorruptRecord } from "../src/config/record.ts";
import { ByteReader, ByteWriter } from "../src/wire/bytes.ts";
import type { ConfigFailure } from "../src/wire/config.ts";
import { writeConfigAnswer } from "../src/wire/config-answers.ts";
import type { ConfigCall } from "../src/wire/config-requests.ts";

/** The same answer to each. */
export function refuseAll(calls: readonly ConfigCall[], refusal: ConfigFailure): Uint8Array {
  const body = new ByteWriter(256);
  writeConfigAnswer(body, refusal);
  const writer = new ByteWriter(256);
  for (const { id } of calls) {
    writer.u32(id);
    writer.bytes(body.view());
  }
  return writer.take();
}

/** Not run: its answer might not fit into the message any more. */
export const TOO_MUCH_AT_ONCE = ((): Uint8Array => {
  const message = "the calls that came with this one answer too much for one message; nothing was done, ask again";
  const body = new ByteWriter(256);
  writeConfigAnswer(body, { kind: "error", code: "overloaded", message });
  return body.take();
})();

/** What a job may throw without having written anything; the rest ends the turn. */
export function refusalOf(error: unknown): ConfigRefusal {
  if (error instanceof ConfigRefusal) return error;
  if (error instanceof CorruptRecord) return new ConfigRefusal("dataCorrupt", error.message);
  throw error;
}

export function corrupt({ message }: CorruptRecord): ConfigFailure {
  return { kind: "error", code: "dataCorrupt", message };
}

/** The answers of several frames, in the order of their calls. */
export function inOrder(calls: readonly ConfigCall[], frames: readonly Uint8Array[]): Uint8Array {
  const bodies = new Map<number, Uint8Array>();
  for (const frame of frames) {
    const reader = new ByteReader(frame);
    while (!reader.done) bodies.set(reader.u32(), reader.bytes());
  }
  const writer = new ByteWriter(1024);
  for (const { id } of calls) {
    const body = bodies.get(id);
    if (!body) continue;
    writer.u32(id);
    writer.bytes(body);
  }
  return writer.take();
}

export async function refusalsAsValues<T>(run: () => Promise<T>): Promise<T | ConfigFailure> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof ConfigRefusal) return failureOf(error);
    throw error;
  }
}

/** Waits for a call of `wake`. `until` asks for it, and its result takes that back. */
export function atMost(waitMs: number, until: (wake: () => void) => () => void): Promise<void> {
  return new Promise((resolve) => {
    const cancel = until(() => {
      clearTimeout(timer);
      resolve();
    });
    const timer = setTimeout(() => {
      cancel();
      resolve();
    }, waitMs);
  });
}
