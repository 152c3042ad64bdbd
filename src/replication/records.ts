// What the engine's records (write id → bytes) hold for the key-value store: the first answer of a write, or a vote on its body.
// The two live under different ids, so that a write's record and its vote never meet. Each names the place on the ring of what it
// is about, so that a store that is filled from others takes only records of what it holds (spec RP-45).
import { sameBytes } from "../kv/key-state.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { type Clock, readClock, writeClock } from "../wire/clock.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "../wire/session.ts";

/** 1 and 2: without a place, of builds before 0.2; still read. */
const ANSWER_NOWHERE = 1;
const VOTE_NOWHERE = 2;
const ANSWER = 3;
const VOTE = 4;
const HEARSAY = 5;
const scratch = new ByteWriter(256);

/** The hash that no request has: two sources remember different votes, so that no body may win by this replica's voice. */
export const NO_BODY: Uint8Array = new Uint8Array(BODY_HASH_BYTES);

/** High word of a token. */
type Place = number;

export type StoredRecord =
  | { readonly kind: "answer"; readonly place: Place | undefined; readonly answer: Clock }
  /** Told by another replica during the filling `epoch`: counts as an answer once that filling is complete. */
  | { readonly kind: "hearsay"; readonly place: Place; readonly epoch: number; readonly answer: Clock }
  | { readonly kind: "vote"; readonly place: Place | undefined; readonly bodyHash: Uint8Array };

/** A view, valid until the next call: the engine copies. */
export function encodeAnswer(place: Place, answer: Clock): Uint8Array {
  scratch.reset();
  scratch.u8(ANSWER);
  scratch.u32(place);
  writeClock(scratch, answer);
  return scratch.view();
}

/** A view, valid until the next call. */
export function encodeHearsay(place: Place, epoch: number, answer: Clock): Uint8Array {
  scratch.reset();
  scratch.u8(HEARSAY);
  scratch.u32(place);
  scratch.varint(epoch);
  writeClock(scratch, answer);
  return scratch.view();
}

/** A view, valid until the next call. */
export function encodeVote(place: Place, bodyHash: Uint8Array): Uint8Array {
  scratch.reset();
  scratch.u8(VOTE);
  scratch.u32(place);
  scratch.raw(bodyHash);
  return scratch.view();
}

export function decodeRecord(record: Uint8Array): StoredRecord | undefined {
  const reader = new ByteReader(record);
  switch (reader.u8()) {
    case ANSWER_NOWHERE:
      return { kind: "answer", place: undefined, answer: readClock(reader) };
    case VOTE_NOWHERE:
      return { kind: "vote", place: undefined, bodyHash: reader.raw(BODY_HASH_BYTES) };
    case ANSWER:
      return { kind: "answer", place: reader.u32(), answer: readClock(reader) };
    case HEARSAY:
      return { kind: "hearsay", place: reader.u32(), epoch: reader.varint(), answer: readClock(reader) };
    case VOTE:
      return { kind: "vote", place: reader.u32(), bodyHash: reader.raw(BODY_HASH_BYTES) };
    default:
      return undefined;
  }
}

/**
 * Of what two replicas remember of one write id: the later answer, since an earlier one was known to no majority (spec RP-33); where they
 * remember different votes, one for no body (RP-50).
 */
export function joinRecords(a: StoredRecord, b: StoredRecord): StoredRecord {
  if (a.kind === "vote") {
    if (b.kind !== "vote" || sameBytes(a.bodyHash, b.bodyHash)) return a;
    return { ...a, bodyHash: NO_BODY };
  }
  return b.kind !== "vote" && b.answer.time > a.answer.time ? b : a;
}

/** The complement: no 16 random bytes meet another's complement by chance, and a tenant can only confuse itself. */
export function voteIdOf(writeId: Uint8Array): Uint8Array {
  const id = new Uint8Array(WRITE_ID_BYTES);
  for (let i = 0; i < WRITE_ID_BYTES; i++) id[i] = writeId[i]! ^ 0xff;
  return id;
}
