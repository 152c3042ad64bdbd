// Which states may go for good: those in which nothing is alive and nothing younger than a horizon (docs/adr/0027).
// Guarantees: a function of the state's bytes and the horizon alone, so that replicas which hold the same bytes judge alike; looks at as
// few bytes as it can, since every read asks. Must not: know where a horizon comes from.

import { WRITE_ID_BYTES } from "../wire/session.ts";
import { EMPTY_STATE, encodeState, type KeyState } from "./key-state.ts";

/** Nothing at all: stands where a row was, until the tables under it are merged. */
export const EMPTY_BYTES: Uint8Array = encodeState(EMPTY_STATE);

/** Only deletes, or nothing: such a row is marked when it is stored, so that merges of tables ask about it. */
export function isDeleted(state: KeyState): boolean {
  return state.versions.every((version) => version.value === undefined);
}

/** Position of a walk over a state's bytes; `at` is NaN once they made no sense. */
interface Walk {
  readonly bytes: Uint8Array;
  at: number;
}

function varint(walk: Walk): number {
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = walk.bytes[walk.at++];
    if (byte === undefined) {
      walk.at = Number.NaN;
      return 0;
    }
    value += (byte & 127) * scale;
    if (byte < 128) return value;
  }
}

/** `count` pairs of numbers, or of `idBytes` bytes and two such pairs. */
function skip(walk: Walk, idBytes: number, pairs: number): void {
  for (let count = varint(walk); count > 0 && !Number.isNaN(walk.at); count--) {
    walk.at += idBytes;
    for (let i = pairs * 2; i > 0; i--) varint(walk);
  }
}

/**
 * Does the state hold no value, and nothing stamped after `horizon` (hybrid time)? Unsettled entries do not keep it: a horizon lies
 * before a full repair, which brought them to every replica. Bytes that make no sense are never purgeable.
 */
export function isPurgeable(bytes: Uint8Array, horizon: number): boolean {
  if (horizon === 0) return bytes.length === EMPTY_BYTES.length && bytes.every((byte, i) => byte === EMPTY_BYTES[i]);
  if (bytes[0] !== EMPTY_BYTES[0]) return false;
  const walk: Walk = { bytes, at: 1 };
  skip(walk, 0, 1);
  skip(walk, 0, 1);
  if (varint(walk) > horizon) return false;
  skip(walk, WRITE_ID_BYTES, 2);
  for (let count = varint(walk); count > 0; count--) {
    const flags = bytes[walk.at];
    if (flags === undefined || (flags & 1) === 0) return false;
    walk.at += 1 + WRITE_ID_BYTES;
    if (varint(walk) > horizon) return false;
    skip(walk, 0, 1);
  }
  return walk.at === bytes.length;
}
