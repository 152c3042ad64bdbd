// What the engine's records (write id → bytes) hold for the key-value store: the first answer of a write, or a vote on its body.
// The two live under different ids, so that a write's record and its vote never meet.
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { type Clock, readClock, writeClock } from "../wire/clock.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "../wire/session.ts";

const ANSWER = 1;
const VOTE = 2;
const scratch = new ByteWriter(256);

/** A view, valid until the next call: the engine copies. */
export function encodeAnswer(answer: Clock): Uint8Array {
  scratch.reset();
  scratch.u8(ANSWER);
  writeClock(scratch, answer);
  return scratch.view();
}

export function decodeAnswer(record: Uint8Array): Clock | undefined {
  const reader = new ByteReader(record);
  return reader.u8() === ANSWER ? readClock(reader) : undefined;
}

/** A view, valid until the next call. */
export function encodeVote(bodyHash: Uint8Array): Uint8Array {
  scratch.reset();
  scratch.u8(VOTE);
  scratch.raw(bodyHash);
  return scratch.view();
}

export function decodeVote(record: Uint8Array): Uint8Array | undefined {
  const reader = new ByteReader(record);
  return reader.u8() === VOTE ? reader.raw(BODY_HASH_BYTES) : undefined;
}

/** The complement: no 16 random bytes meet another's complement by chance, and a tenant can only confuse itself. */
export function voteIdOf(writeId: Uint8Array): Uint8Array {
  const id = new Uint8Array(WRITE_ID_BYTES);
  for (let i = 0; i < WRITE_ID_BYTES; i++) id[i] = writeId[i]! ^ 0xff;
  return id;
}
