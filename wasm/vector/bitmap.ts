// Bitmaps of rows: which may be given (`allowed`), which must not (`deleted`). Address 0 = no bitmap.

/** Bits of word `word` that are allowed and not deleted, of the rows below `count`. */
@inline
export function liveWord(allowed: usize, deleted: usize, word: u32, count: u32): u32 {
  let mask: u32 = 0xffffffff;
  if (allowed) mask = load<u32>(allowed + (<usize>word << 2));
  if (deleted) mask &= ~load<u32>(deleted + (<usize>word << 2));
  const rest = count - (word << 5);
  if (rest < 32) mask &= (<u32>1 << rest) - 1;
  return mask;
}

/** True if a row is allowed and not deleted. */
@inline
export function isLive(allowed: usize, deleted: usize, row: u32): bool {
  const at = <usize>(row >> 5) << 2;
  const bit = row & 31;
  let mask: u32 = 1;
  if (allowed) mask = load<u32>(allowed + at) >> bit;
  if (deleted) mask &= ~(load<u32>(deleted + at) >> bit);
  return (mask & 1) != 0;
}

/** Rows below `count` that are allowed and not deleted. */
export function countLive(allowed: usize, deleted: usize, count: u32): u32 {
  if (!allowed && !deleted) return count;
  let sum: u32 = 0;
  const words = (count + 31) >> 5;
  for (let word: u32 = 0; word < words; word++) sum += popcnt<u32>(liveWord(allowed, deleted, word, count));
  return sum;
}
