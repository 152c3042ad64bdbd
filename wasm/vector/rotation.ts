// The random rotation of the 1-bit codes: four rounds of random signs, a fast Hadamard transform over the first or last power of two
// of the values, and, where that is not all of them, 45° turns between both halves. O(d log d), lengths are kept.

const ROUNDS: u32 = 4;
const HALF: f32 = 0.70710678;

function hadamard(p: usize, count: u32): void {
  const end = p + (<usize>count << 2);
  const pairs = f32x4(1, -1, 1, -1), quads = f32x4(1, 1, -1, -1);
  for (let a = p; a < end; a += 16) {
    let v = v128.load(a);
    v = f32x4.add(v128.shuffle<i32>(v, v, 1, 0, 3, 2), f32x4.mul(v, pairs));
    v = f32x4.add(v128.shuffle<i32>(v, v, 2, 3, 0, 1), f32x4.mul(v, quads));
    v128.store(a, v);
  }
  for (let half: usize = 16; half < (<usize>count << 2); half <<= 1) {
    for (let b = p; b < end; b += half << 1) {
      for (let a = b; a < b + half; a += 16) {
        const u = v128.load(a), v = v128.load(a + half);
        v128.store(a, f32x4.add(u, v));
        v128.store(a + half, f32x4.sub(u, v));
      }
    }
  }
}

function rotate(p: usize, padded: u32, window: u32, signs: usize): void {
  const bytes = <usize>padded << 2;
  const scale = f32x4.splat(<f32>(1.0 / Math.sqrt(<f64>window)));
  const half = f32x4.splat(HALF);
  for (let round: u32 = 0; round < ROUNDS; round++) {
    for (let at: usize = 0; at < bytes; at += 16) {
      v128.store(p + at, f32x4.mul(f32x4.mul(v128.load(p + at), v128.load(signs + at)), scale));
    }
    signs += bytes;
    const last = (<usize>(padded - window)) << 2;
    const from = round & 1 ? last : 0;
    hadamard(p + from, window);
    if (window == padded) continue;
    // What lies outside of the window was scaled too: undo it.
    const back = f32x4.splat(<f32>Math.sqrt(<f64>window));
    const outside = p + (round & 1 ? 0 : <usize>window << 2);
    for (let at: usize = 0; at < last; at += 16) v128.store(outside + at, f32x4.mul(v128.load(outside + at), back));
    for (let at: usize = 0; at < bytes >> 1; at += 16) {
      const a = v128.load(p + at), b = v128.load(p + (bytes >> 1) + at);
      v128.store(p + at, f32x4.mul(half, f32x4.add(a, b)));
      v128.store(p + (bytes >> 1) + at, f32x4.mul(half, f32x4.sub(a, b)));
    }
  }
}

/**
 * Rotates `count` vectors of `padded` float32 in place (`signs` 0: not), then subtracts `centre` (0: not). `padded` is a multiple
 * of 64, `window` the greatest power of two in it, `signs` are 4 × padded float32 of ±1.
 */
export function rotateRows(p: usize, count: u32, padded: u32, window: u32, signs: usize, centre: usize): void {
  const bytes = <usize>padded << 2;
  for (let i: u32 = 0; i < count; i++) {
    if (signs) rotate(p, padded, window, signs);
    if (centre) for (let at: usize = 0; at < bytes; at += 16) v128.store(p + at, f32x4.sub(v128.load(p + at), v128.load(centre + at)));
    p += bytes;
  }
}
