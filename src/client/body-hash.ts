// The hash that a write under the user's own write id travels with: the first body under the id wins, another is refused.
// Guarantees: equal to the gateway's (a test compares them), so that one write id may be used over HTTP and over a session.
import { ByteWriter } from "../wire/bytes.ts";
import { type Clock, writeClock } from "../wire/clock.ts";
import { BODY_HASH_BYTES } from "../wire/session.ts";

export interface HashedWrite {
  readonly op: "put" | "delete";
  readonly key: string;
  readonly value?: Uint8Array | undefined;
  readonly clock?: Clock | undefined;
}

/** Operation, key, raw value and clock; not the consistency. */
export async function bodyHashOf({ op, key, value, clock }: HashedWrite): Promise<Uint8Array> {
  const writer = new ByteWriter(1024);
  writer.string(op);
  writer.string(key);
  writer.u8((value ? 1 : 0) | (clock ? 2 : 0));
  if (value) writer.bytes(value);
  if (clock) writeClock(writer, clock);
  const hash = await crypto.subtle.digest("SHA-256", writer.take() as Uint8Array<ArrayBuffer>);
  return new Uint8Array(hash, 0, BODY_HASH_BYTES);
}
