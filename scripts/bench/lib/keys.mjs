// Which keys a phase touches, and the values: JSON texts of an exact size. Seeded, so that two runs ask for the same.
// Three ranges: `old-*` are only read after the preload; `live-*` are overwritten; `new-*` are written just before a phase of gets.

import { seededRandom } from "../../lib/seeded.mjs";

export { seededRandom };

/** A JSON string of exactly `bytes` bytes; not one repeated letter, so that nothing compresses it away. */
export function valueText(bytes, random) {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  let text = "";
  while (text.length < bytes - 2) text += letters[Math.floor(random() * letters.length)];
  return `"${text}"`;
}

/**
 * Gives a function () → key.
 * put: `mixed` = half overwrites of live keys, half fresh keys; `fresh`; `overwrite`.
 * get: half from all old keys, half from the newest.
 */
export function keyChooser({ op, putKeys, oldCount, liveCount, newCount, seed, run }) {
  const random = seededRandom(seed);
  let fresh = 0;
  if (op === "get") {
    return () => (random() < 0.5 ? `old-${Math.floor(random() * oldCount)}` : `new-${Math.floor(random() * newCount)}`);
  }
  const freshShare = putKeys === "fresh" ? 1 : putKeys === "overwrite" ? 0 : 0.5;
  return () => (random() < freshShare ? `fresh-${run}-${fresh++}` : `live-${Math.floor(random() * liveCount)}`);
}
