// Write ids (DESIGN 3): from the client's Idempotency-Key, or made here.
// Guarantees: the same key of the same tenant gives the same id; ids of a batch's items are distinct and follow from the batch's.
// Must not: trust a header for more than it says: only an SDK's random 32-hex id may claim to be a first attempt.
import { sha256 } from "../access/api-key.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { type Clock, writeClock } from "../wire/clock.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "../wire/session.ts";
import { invalidRequest } from "./issues.ts";
import { MAX_IDEMPOTENCY_KEY_CHARACTERS } from "./limits.ts";

const HEX_ID = /^[0-9a-f]{32}$/;
const VISIBLE_ASCII = /^[\x21-\x7e]+$/;
const ATTEMPT = /^[1-9][0-9]{0,3}$/;

export interface WriteIdentity {
  readonly writeId: Uint8Array;
  /** An attempt with this id may have been sent before, without a vote. */
  readonly isRetry: boolean;
  /** The id is the user's own: the first body under it wins, another is refused. */
  readonly isVoted: boolean;
}

/** The checked `Idempotency-Key`, if there is one. */
function idempotencyKey(request: Request): string | undefined {
  const key = request.headers.get("idempotency-key");
  if (key === null) return undefined;
  const path = "Idempotency-Key";
  if (key.length > MAX_IDEMPOTENCY_KEY_CHARACTERS) {
    const message = `has ${key.length} characters`;
    throw invalidRequest([{ path, message, limit: MAX_IDEMPOTENCY_KEY_CHARACTERS }]);
  }
  if (!VISIBLE_ASCII.test(key)) throw invalidRequest([{ path, message: "must be 1 to 255 visible ASCII characters" }]);
  return key;
}

/** 0 = the header is absent. */
function attemptOf(request: Request): number {
  const attempt = request.headers.get("jade-attempt");
  if (attempt === null) return 0;
  if (ATTEMPT.test(attempt)) return Number(attempt);
  throw invalidRequest([{ path: "Jade-Attempt", message: "must be a whole number from 1 to 9999" }]);
}

function fromHex(hex: string): Uint8Array {
  const bytes = new Uint8Array(WRITE_ID_BYTES);
  for (let i = 0; i < WRITE_ID_BYTES; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export interface IdentitySource {
  readonly request: Request;
  /** The tenant's id, or `` for the root. */
  readonly scope: string;
  readonly randomBytes: (count: number) => Uint8Array;
}

/** Throws `invalidRequest` for malformed headers. */
export function writeIdentityFrom({
  request,
  scope,
  randomBytes,
}: IdentitySource): WriteIdentity | Promise<WriteIdentity> {
  const key = idempotencyKey(request);
  const attempt = attemptOf(request);
  if (key === undefined) return { writeId: randomBytes(WRITE_ID_BYTES), isRetry: false, isVoted: false };
  if (!HEX_ID.test(key)) return hashedIdentity(scope, key);
  return { writeId: fromHex(key), isRetry: attempt !== 1, isVoted: attempt === 0 };
}

async function hashedIdentity(scope: string, key: string): Promise<WriteIdentity> {
  const hash = await sha256(`jade-write-id\0${scope}\0${key}`);
  // Always voted on, so the vote itself tells a first attempt from a later one.
  return { writeId: hash.subarray(0, WRITE_ID_BYTES), isRetry: false, isVoted: true };
}

/**
 * Ids for the items of a batch: one hash, the index mixed into its end. Distinct within the batch by construction, and as far
 * from other ids as the hash is; a SHA-256 per item would cost a tenth of a batched put.
 */
export async function itemIdsOf(batchId: Uint8Array, count: number): Promise<Uint8Array[]> {
  const base = (await sha256(batchId)).subarray(0, WRITE_ID_BYTES);
  const ids: Uint8Array[] = [];
  for (let index = 0; index < count; index++) {
    const id = base.slice();
    id[WRITE_ID_BYTES - 1]! ^= index & 0xff;
    id[WRITE_ID_BYTES - 2]! ^= (index >>> 8) & 0xff;
    ids.push(id);
  }
  return ids;
}

export interface HashedOperation {
  readonly op: string;
  readonly key: string;
  readonly value?: Uint8Array | undefined;
  readonly clock?: Clock | undefined;
}

/** What a repeated Idempotency-Key must come with again: operation, key, raw value, clock; not the consistency. */
export async function bodyHashOf(operations: readonly HashedOperation[]): Promise<Uint8Array> {
  const writer = new ByteWriter(1024);
  for (const { op, key, value, clock } of operations) {
    writer.string(op);
    writer.string(key);
    writer.u8((value ? 1 : 0) | (clock ? 2 : 0));
    if (value) writer.bytes(value);
    if (clock) writeClock(writer, clock);
  }
  return (await sha256(writer.view())).subarray(0, BODY_HASH_BYTES);
}
