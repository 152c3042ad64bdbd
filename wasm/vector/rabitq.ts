// RaBitQ with one bit a value (Gao and Long 2024, arXiv 2405.12497). r = row − centroid, both rotated; x_i = [r_i > 0], x̄ = x − ½:
//   ip = ⟨r, x̄⟩, ipc = ⟨centroid, x̄⟩, added = ‖r‖² + 2‖r‖²·ipc/ip, scale = −2‖r‖²/ip,
//   error = 2‖r‖·√((‖r‖²·(d/4)/ip² − 1)/(d − 1)) for each unit of ε·‖query − centroid‖.
// The query is not centred at a cell, so one table serves all of them: ⟨x̄, q⟩ = Σ table + bias.

import { storeNibble } from "./fastscan";

const NO_SLOT: u32 = 0xffffffff;

/**
 * Encodes `count` rotated rows of `padded` values into the slots listed at `slots` (u32; all ones: not). `cellOf` lists their cells
 * (0: all are of cell 0).
 */
export function encodeBits(
  rows: usize, count: u32, padded: u32, cellOf: usize, centroids: usize, slots: usize, blocks: usize,
): void {
  const bytes = <usize>padded << 2;
  const groups = <usize>padded >> 2;
  for (let i: u32 = 0; i < count; i++, rows += bytes) {
    const slot = load<u32>(slots + (<usize>i << 2));
    if (slot == NO_SLOT) continue;
    const cell = cellOf ? load<u32>(cellOf + (<usize>i << 2)) : 0;
    const centroid = centroids + <usize>cell * bytes;
    const block = blocks + <usize>(slot >> 5) * ((groups << 4) + 384);
    let squared: f64 = 0, absolute: f64 = 0, ofCentroid: f64 = 0;
    for (let group: usize = 0; group < groups; group++) {
      let code: u32 = 0;
      for (let bit: u32 = 0; bit < 4; bit++) {
        const at = ((group << 2) + bit) << 2;
        const c = load<f32>(centroid + at);
        const r = <f64>(load<f32>(rows + at) - c);
        squared += r * r;
        absolute += Math.abs(r);
        if (r > 0) {
          code |= 1 << bit;
          ofCentroid += c;
        } else ofCentroid -= c;
      }
      storeNibble(block + (group << 4), slot & 31, code);
    }
    storeFactors(block + (groups << 4) + (<usize>(slot & 31) << 2), padded, squared, absolute / 2, ofCentroid / 2);
  }
}

@inline
function storeFactors(at: usize, padded: u32, squared: f64, ip: f64, ipc: f64): void {
  if (!(ip > 0)) {
    // The row is the centroid.
    store<f32>(at, <f32>squared);
    store<f32>(at, 0, 128);
    store<f32>(at, 0, 256);
    return;
  }
  const spread = max<f64>(0, (squared * <f64>padded * 0.25) / (ip * ip) - 1) / <f64>(padded - 1);
  store<f32>(at, <f32>(squared + (2 * squared * ipc) / ip));
  store<f32>(at, <f32>((-2 * squared) / ip), 128);
  store<f32>(at, <f32>(2 * Math.sqrt(squared * spread)), 256);
}

/** The table of a rotated query (16 bytes a group), and to `out` its step and bias (f32). */
export function bitsTable(q: usize, padded: u32, table: usize, out: usize): void {
  const groups = <usize>padded >> 2;
  let widest: f32 = 0, negative: f64 = 0, sum: f64 = 0;
  for (let group: usize = 0; group < groups; group++) {
    const at = q + (group << 4);
    let range: f32 = 0;
    for (let i: usize = 0; i < 16; i += 4) {
      const value = load<f32>(at + i);
      range += Mathf.abs(value);
      sum += value;
      if (value < 0) negative += value;
    }
    widest = max(widest, range);
  }
  const inverse: f32 = widest > 0 ? 63 / widest : 0;
  store<f32>(out, widest / 63);
  store<f32>(out, <f32>(negative - sum / 2), 4);
  const zero = f32x4.splat(0), factor = f32x4.splat(inverse);
  for (let group: usize = 0; group < groups; group++) {
    const v = f32x4.mul(v128.load(q + (group << 4)), factor);
    const low = f32x4.min(v, zero);
    const least = f32x4.extract_lane(low, 0) + f32x4.extract_lane(low, 1) + f32x4.extract_lane(low, 2) + f32x4.extract_lane(low, 3);
    const x = f32x4.extract_lane(v, 0), y = f32x4.extract_lane(v, 1);
    const a = f32x4(-least, x - least, y - least, x + y - least);
    const b = f32x4.add(a, f32x4.splat(f32x4.extract_lane(v, 2)));
    const last = f32x4.splat(f32x4.extract_lane(v, 3));
    storeEntries(table + (group << 4), a, b, f32x4.add(a, last), f32x4.add(b, last));
  }
}

/** Sixteen entries, rounded to 0..63. */
@inline
export function storeEntries(at: usize, a: v128, b: v128, c: v128, d: v128): void {
  const low = i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(f32x4.nearest(a)), i32x4.trunc_sat_f32x4_s(f32x4.nearest(b)));
  const high = i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(f32x4.nearest(c)), i32x4.trunc_sat_f32x4_s(f32x4.nearest(d)));
  v128.store(at, i8x16.min_u(i8x16.splat(63), i8x16.narrow_i16x8_u(low, high)));
}
