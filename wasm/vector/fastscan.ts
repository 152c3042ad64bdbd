// Scans of 4-bit codes by tables in registers. A block holds 32 rows: per group of values 16 bytes with one nibble a row, then, if the
// codes have factors, three float32 a row (what is added, the scale, the error). Estimated squared distance of a row:
//   added + add + scale × (step × Σ table[group][nibble] + bias), give or take error × reach + |scale| × slack.
// Table entries are 0..63, so that four of them add up in a byte; groups ≤ 1040, so that all of them add up in a u16.

import { isLive } from "./bitmap";
import { heapOffer, heapSort, heapWorst, ordered, unordered } from "./heap";

const BLOCK_ROWS: u32 = 32;
const FACTOR_BYTES: usize = 128;
const ESTIMATES: usize = memory.data(128, 16);
const LOWEST: usize = memory.data(128, 16);
/** A candidate: estimate, lowest possible distance (f32), slot (u32). Before the first: their number. */
const CANDIDATE: usize = 12;
const CANDIDATES_AT: usize = 16;

/** Byte and shift of a row's nibble within the 16 bytes of a group, so that sums come out in row order. */
@inline
export function storeNibble(group: usize, row: u32, code: u32): void {
  const part = row >> 3;
  const at = group + <usize>(((row & 7) << 1) + (part & 1));
  const shift = (part >> 1) << 2;
  store<u8>(at, <u8>((<u32>load<u8>(at) & ~(<u32>15 << shift)) | (code << shift)));
}

@inline
export function loadNibble(group: usize, row: u32): u32 {
  const part = row >> 3;
  return (load<u8>(group + <usize>(((row & 7) << 1) + (part & 1))) >> ((part >> 1) << 2)) & 15;
}

@inline
function worstOf(heap: usize, k: u32): f32 {
  const worst = heapWorst(heap, k);
  return worst == 0xffffffff ? f32.MAX_VALUE * 2 : unordered(worst);
}

/** Four rows' estimates and lower bounds; bits of those that may be near enough. Not-a-number may be. */
@inline
function estimate(
  sums: v128, factors: usize, lane: usize, step: v128, bias: v128, add: v128, reach: v128, slack: v128, worst: v128,
): u32 {
  const product = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(sums), step), bias);
  let found: v128;
  let lowest: v128;
  if (factors) {
    const scale = v128.load(factors + FACTOR_BYTES + lane);
    found = f32x4.add(f32x4.add(v128.load(factors + lane), add), f32x4.mul(scale, product));
    const error = f32x4.add(f32x4.mul(v128.load(factors + 2 * FACTOR_BYTES + lane), reach), f32x4.mul(f32x4.abs(scale), slack));
    lowest = f32x4.sub(found, error);
  } else {
    found = f32x4.add(add, product);
    lowest = found;
  }
  v128.store(ESTIMATES + lane, found);
  v128.store(LOWEST + lane, lowest);
  return ~(<u32>i32x4.bitmask(f32x4.gt(lowest, worst))) & 15;
}

@inline
function offer(bits: u32, slot: u32, heap: usize, k: u32, candidates: usize): void {
  while (bits) {
    const row = ctz(bits);
    bits &= bits - 1;
    const found = load<f32>(ESTIMATES + (<usize>row << 2));
    const lowest = load<f32>(LOWEST + (<usize>row << 2));
    if (lowest > worstOf(heap, k)) continue;
    if (!candidates) {
      heapOffer(heap, k, (<u64>ordered(found) << 32) | (slot + row));
      continue;
    }
    heapOffer(heap, k, (<u64>ordered(found + (found - lowest)) << 32) | (slot + row));
    const count = load<u32>(candidates);
    const at = candidates + CANDIDATES_AT + <usize>count * CANDIDATE;
    store<f32>(at, found);
    store<f32>(at, lowest, 4);
    store<u32>(at, slot + row, 8);
    store<u32>(candidates, count + 1);
  }
}

/**
 * Scans slots `first` (a multiple of 32) .. `first + count - 1`, whose blocks begin at `blocks`; `live` has a bit a slot (0: all live).
 * Without `candidates` the pool `heap` gets the `k` least estimates; with them it gets the `k` least upper bounds, and every slot
 * whose lower bound does not exceed their greatest so far becomes a candidate. Returns the rows scanned.
 */
export function scanBlocks(
  blocks: usize, groups: u32, hasFactors: u32, table: usize, first: u32, count: u32,
  step: f32, bias: f32, add: f32, reach: f32, slack: f32, live: usize, heap: usize, k: u32, candidates: usize,
): u32 {
  const low = i8x16.splat(15);
  const codeBytes = <usize>groups << 4;
  const steps = f32x4.splat(step), biases = f32x4.splat(bias), adds = f32x4.splat(add);
  const reaches = f32x4.splat(reach), slacks = f32x4.splat(slack);
  const blockBytes = codeBytes + (hasFactors ? 3 * FACTOR_BYTES : 0);
  let scanned: u32 = 0;
  for (let done: u32 = 0; done < count; done += BLOCK_ROWS, blocks += blockBytes) {
    const slot = first + done;
    let mask: u32 = live ? load<u32>(live + (<usize>(slot >> 5) << 2)) : 0xffffffff;
    if (count - done < BLOCK_ROWS) mask &= (<u32>1 << (count - done)) - 1;
    if (!mask) continue;
    scanned += popcnt<u32>(mask);
    let a = i16x8.splat(0), b = a, c = a, d = a;
    let p = blocks, entries = table;
    const end = blocks + codeBytes;
    do {
      let codes = v128.load(p), t = v128.load(entries);
      let lows = i8x16.swizzle(t, v128.and(codes, low)), highs = i8x16.swizzle(t, i8x16.shr_u(codes, 4));
      codes = v128.load(p, 16); t = v128.load(entries, 16);
      lows = i8x16.add(lows, i8x16.swizzle(t, v128.and(codes, low))); highs = i8x16.add(highs, i8x16.swizzle(t, i8x16.shr_u(codes, 4)));
      codes = v128.load(p, 32); t = v128.load(entries, 32);
      lows = i8x16.add(lows, i8x16.swizzle(t, v128.and(codes, low))); highs = i8x16.add(highs, i8x16.swizzle(t, i8x16.shr_u(codes, 4)));
      codes = v128.load(p, 48); t = v128.load(entries, 48);
      lows = i8x16.add(lows, i8x16.swizzle(t, v128.and(codes, low))); highs = i8x16.add(highs, i8x16.swizzle(t, i8x16.shr_u(codes, 4)));
      // Sums of even bytes: added with the odd ones above them, which are taken off at the end.
      a = i16x8.add(a, lows); b = i16x8.add(b, i16x8.shr_u(lows, 8));
      c = i16x8.add(c, highs); d = i16x8.add(d, i16x8.shr_u(highs, 8));
      p += 64; entries += 64;
    } while (p < end);
    a = i16x8.sub(a, i16x8.shl(b, 8));
    c = i16x8.sub(c, i16x8.shl(d, 8));
    const factors = hasFactors ? blocks + codeBytes : 0;
    const worst = f32x4.splat(worstOf(heap, k));
    let bits = estimate(i32x4.extend_low_i16x8_u(a), factors, 0, steps, biases, adds, reaches, slacks, worst);
    bits |= estimate(i32x4.extend_high_i16x8_u(a), factors, 16, steps, biases, adds, reaches, slacks, worst) << 4;
    bits |= estimate(i32x4.extend_low_i16x8_u(b), factors, 32, steps, biases, adds, reaches, slacks, worst) << 8;
    bits |= estimate(i32x4.extend_high_i16x8_u(b), factors, 48, steps, biases, adds, reaches, slacks, worst) << 12;
    bits |= estimate(i32x4.extend_low_i16x8_u(c), factors, 64, steps, biases, adds, reaches, slacks, worst) << 16;
    bits |= estimate(i32x4.extend_high_i16x8_u(c), factors, 80, steps, biases, adds, reaches, slacks, worst) << 20;
    bits |= estimate(i32x4.extend_low_i16x8_u(d), factors, 96, steps, biases, adds, reaches, slacks, worst) << 24;
    bits |= estimate(i32x4.extend_high_i16x8_u(d), factors, 112, steps, biases, adds, reaches, slacks, worst) << 28;
    offer(bits & mask, slot, heap, k, candidates);
  }
  return scanned;
}

/**
 * Puts the candidates that the final pool does not rule out into `order` (a pool with room for all), least estimate first.
 * Its keys end in the number of the candidate.
 */
export function keepCandidates(candidates: usize, heap: usize, k: u32, order: usize): void {
  const worst = worstOf(heap, k);
  const count = load<u32>(candidates);
  for (let i: u32 = 0; i < count; i++) {
    const at = candidates + CANDIDATES_AT + <usize>i * CANDIDATE;
    if (load<f32>(at, 4) > worst) continue;
    heapOffer(order, count, (<u64>ordered(load<f32>(at)) << 32) | i);
  }
  heapSort(order);
}

/** Bits of the live rows among slots `first` (a multiple of 32) .. `first + count - 1` to the bitmap `live` of slots. */
export function liveSlots(rowOf: usize, first: u32, count: u32, allowed: usize, deleted: usize, live: usize): void {
  for (let done: u32 = 0; done < count; done += 32) {
    let word: u32 = 0;
    const most = min<u32>(32, count - done);
    for (let bit: u32 = 0; bit < most; bit++) {
      const row = load<u32>(rowOf + (<usize>(first + done + bit) << 2));
      if (isLive(allowed, deleted, row)) word |= <u32>1 << bit;
    }
    store<u32>(live + (<usize>((first + done) >> 5) << 2), word);
  }
}
