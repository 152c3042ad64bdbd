// Fewer values a vector: products of rows with axes, and the sums that axes are learned by. Rows and axes are padded with zeros to 16 bytes,
// axes to a multiple of 4 of them with zeros.

import { sumsF } from "./distances";

/** Two rows with four axes: the products of the first, and those of the second at `out + outStride`. */
@inline
function products(p: usize, r: usize, mean: usize, axis: usize, bytes: usize, out: usize, outNext: usize): void {
  const b0 = axis, b1 = axis + bytes, b2 = b1 + bytes, b3 = b2 + bytes;
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, c0 = a0, c1 = a0, c2 = a0, c3 = a0;
  for (let at: usize = 0; at < bytes; at += 16) {
    const m = v128.load(mean + at);
    const x = f32x4.sub(v128.load(p + at), m), y = f32x4.sub(v128.load(r + at), m);
    let axisPart = v128.load(b0 + at);
    a0 = f32x4.add(a0, f32x4.mul(x, axisPart));
    c0 = f32x4.add(c0, f32x4.mul(y, axisPart));
    axisPart = v128.load(b1 + at);
    a1 = f32x4.add(a1, f32x4.mul(x, axisPart));
    c1 = f32x4.add(c1, f32x4.mul(y, axisPart));
    axisPart = v128.load(b2 + at);
    a2 = f32x4.add(a2, f32x4.mul(x, axisPart));
    c2 = f32x4.add(c2, f32x4.mul(y, axisPart));
    axisPart = v128.load(b3 + at);
    a3 = f32x4.add(a3, f32x4.mul(x, axisPart));
    c3 = f32x4.add(c3, f32x4.mul(y, axisPart));
  }
  v128.store(out, sumsF(a0, a1, a2, a3));
  v128.store(outNext, sumsF(c0, c1, c2, c3));
}

/**
 * For each of `count` rows its products with the axes, `outStride` bytes (4 a padded axis) from one to the next. `mean` is subtracted before.
 * The products of a row are the same whatever rows stand beside it.
 */
export function reduceRows(rows: usize, bytes: usize, count: u32, mean: usize, axes: usize, out: usize, outStride: usize): void {
  for (let i: u32 = 0; i < count; i += 2) {
    const isPair = i + 1 < count;
    const p = rows + <usize>i * bytes, o = out + <usize>i * outStride;
    const r = isPair ? p + bytes : p, n = isPair ? o + outStride : o;
    for (let at: usize = 0, axis = axes; at < outStride; at += 16, axis += bytes << 2) {
      products(p, r, mean, axis, bytes, o + at, n + at);
    }
  }
}

/** Adds to each axis of `sums` the rows, each times its product with that axis: (row · axis) × row. */
export function addProducts(rows: usize, bytes: usize, count: u32, found: usize, foundStride: usize, sums: usize): void {
  for (let a: usize = 0, sum = sums; a < foundStride; a += 4, sum += bytes) {
    for (let i: u32 = 0; i < count; i++) {
      const p = rows + <usize>i * bytes;
      const by = f32x4.splat(load<f32>(found + <usize>i * foundStride + a));
      for (let at: usize = 0; at < bytes; at += 16) {
        v128.store(sum + at, f32x4.add(v128.load(sum + at), f32x4.mul(by, v128.load(p + at))));
      }
    }
  }
}
