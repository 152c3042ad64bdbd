// Product quantization with 4 bits a group: the values are cut into groups of `width`, each group is coded by the nearest of its 16
// centres (Jégou et al. 2011). The squared distance to a row is estimated by that to its centres, a table entry a group.

import { storeNibble } from "./fastscan";
import { storeEntries } from "./rabitq";

const NO_SLOT: u32 = 0xffffffff;
const CENTRES: u32 = 16;
const DISTANCES: usize = memory.data(64, 16);

@inline
function squared(a: usize, b: usize, width: u32): f32 {
  let sum: f32 = 0;
  for (let i: usize = 0; i < <usize>width << 2; i += 4) {
    const t = load<f32>(a + i) - load<f32>(b + i);
    sum += t * t;
  }
  return sum;
}

/** Encodes `count` rows of `padded` values into the slots listed at `slots` (u32; all ones: not). */
export function encodeProducts(
  rows: usize, count: u32, padded: u32, width: u32, centres: usize, slots: usize, blocks: usize,
): void {
  const groups = padded / width;
  const bytes = <usize>width << 2;
  for (let i: u32 = 0; i < count; i++, rows += <usize>padded << 2) {
    const slot = load<u32>(slots + (<usize>i << 2));
    if (slot == NO_SLOT) continue;
    const block = blocks + <usize>(slot >> 5) * (<usize>groups << 4);
    let entry = centres;
    for (let group: u32 = 0; group < groups; group++) {
      const values = rows + <usize>group * bytes;
      let best: u32 = 0;
      let least: f32 = f32.MAX_VALUE * 2;
      for (let centre: u32 = 0; centre < CENTRES; centre++, entry += bytes) {
        const distance = squared(values, entry, width);
        if (distance < least) {
          least = distance;
          best = centre;
        }
      }
      storeNibble(block + (<usize>group << 4), slot & 31, best);
    }
  }
}

/** The table of a query (16 bytes a group), and to `out` its step and bias (f32). */
export function productsTable(q: usize, padded: u32, width: u32, centres: usize, table: usize, out: usize): void {
  const groups = padded / width;
  const bytes = <usize>width << 2;
  let widest: f32 = 0;
  let bias: f64 = 0;
  for (let group: u32 = 0; group < groups; group++) {
    const least = distances(q + <usize>group * bytes, centres + <usize>group * bytes * CENTRES, width);
    bias += least;
    for (let i: usize = 0; i < 64; i += 4) widest = max(widest, load<f32>(DISTANCES + i) - least);
  }
  store<f32>(out, widest / 63);
  store<f32>(out, <f32>bias, 4);
  const factor = f32x4.splat(widest > 0 ? 63 / widest : 0);
  for (let group: u32 = 0; group < groups; group++) {
    const least = f32x4.splat(distances(q + <usize>group * bytes, centres + <usize>group * bytes * CENTRES, width));
    const a = f32x4.mul(f32x4.sub(v128.load(DISTANCES), least), factor);
    const b = f32x4.mul(f32x4.sub(v128.load(DISTANCES, 16), least), factor);
    const c = f32x4.mul(f32x4.sub(v128.load(DISTANCES, 32), least), factor);
    const d = f32x4.mul(f32x4.sub(v128.load(DISTANCES, 48), least), factor);
    storeEntries(table + (<usize>group << 4), a, b, c, d);
  }
}

/** Squared distances of a group to its centres; gives the least. */
@inline
function distances(values: usize, centres: usize, width: u32): f32 {
  let least: f32 = f32.MAX_VALUE * 2;
  for (let centre: u32 = 0; centre < CENTRES; centre++) {
    const distance = squared(values, centres + <usize>centre * (<usize>width << 2), width);
    store<f32>(DISTANCES + (<usize>centre << 2), distance);
    least = min(least, distance);
  }
  return least;
}
