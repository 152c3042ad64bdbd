// Distances of one query to four rows at a time: squared euclidean, cosine, dot, over float32 and over u8 codes.
// Guarantees: a row's distance is the same number whatever rows it is computed beside. Rows are padded with zeros to 16 bytes.

export const EUCLIDEAN: u32 = 0;
export const COSINE: u32 = 1;
export const DOT: u32 = 2;

/** Four registers → one register of their four sums, each (0 + 2) + (1 + 3). */
@inline
export function sumsF(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

@inline
export function sumsI(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return i32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

@inline
function addSquare(sum: v128, q: v128, x: v128): v128 {
  const t = f32x4.sub(q, x);
  return f32x4.add(sum, f32x4.mul(t, t));
}

@inline
function addProduct(sum: v128, q: v128, x: v128): v128 {
  return f32x4.add(sum, f32x4.mul(q, x));
}

/** Squared euclidean distances of float32 rows; `bytes` is a multiple of 16. */
@inline
export function squaredF(q: usize, p0: usize, p1: usize, p2: usize, p3: usize, bytes: usize): v128 {
  const end = q + bytes;
  let a = f32x4.splat(0), b = a, c = a, d = a;
  while (q + 16 < end) {
    let x = v128.load(q);
    a = addSquare(a, x, v128.load(p0));
    b = addSquare(b, x, v128.load(p1));
    c = addSquare(c, x, v128.load(p2));
    d = addSquare(d, x, v128.load(p3));
    x = v128.load(q, 16);
    a = addSquare(a, x, v128.load(p0, 16));
    b = addSquare(b, x, v128.load(p1, 16));
    c = addSquare(c, x, v128.load(p2, 16));
    d = addSquare(d, x, v128.load(p3, 16));
    q += 32; p0 += 32; p1 += 32; p2 += 32; p3 += 32;
  }
  if (q < end) {
    const x = v128.load(q);
    a = addSquare(a, x, v128.load(p0));
    b = addSquare(b, x, v128.load(p1));
    c = addSquare(c, x, v128.load(p2));
    d = addSquare(d, x, v128.load(p3));
  }
  return sumsF(a, b, c, d);
}

@inline
export function productsF(q: usize, p0: usize, p1: usize, p2: usize, p3: usize, bytes: usize): v128 {
  const end = q + bytes;
  let a = f32x4.splat(0), b = a, c = a, d = a;
  do {
    const x = v128.load(q);
    a = addProduct(a, x, v128.load(p0));
    b = addProduct(b, x, v128.load(p1));
    c = addProduct(c, x, v128.load(p2));
    d = addProduct(d, x, v128.load(p3));
    q += 16; p0 += 16; p1 += 16; p2 += 16; p3 += 16;
  } while (q < end);
  return sumsF(a, b, c, d);
}

/** 1 − cos, from 0 to 2; a row of zeros is at 1. `inverseNorm` is the query's. */
@inline
function cosinesF(q: usize, p0: usize, p1: usize, p2: usize, p3: usize, bytes: usize, inverseNorm: f32): v128 {
  const end = q + bytes;
  let a = f32x4.splat(0), b = a, c = a, d = a;
  let e = a, f = a, g = a, h = a;
  do {
    const x = v128.load(q);
    let y = v128.load(p0);
    a = addProduct(a, x, y);
    e = addProduct(e, y, y);
    y = v128.load(p1);
    b = addProduct(b, x, y);
    f = addProduct(f, y, y);
    y = v128.load(p2);
    c = addProduct(c, x, y);
    g = addProduct(g, y, y);
    y = v128.load(p3);
    d = addProduct(d, x, y);
    h = addProduct(h, y, y);
    q += 16; p0 += 16; p1 += 16; p2 += 16; p3 += 16;
  } while (q < end);
  const dots = f32x4.mul(sumsF(a, b, c, d), f32x4.splat(inverseNorm));
  const norms = f32x4.sqrt(sumsF(e, f, g, h));
  const one = f32x4.splat(1);
  const zero = f32x4.splat(0);
  const cosines = v128.bitselect(zero, f32x4.div(dots, norms), f32x4.eq(norms, zero));
  return f32x4.max(zero, f32x4.sub(one, cosines));
}

/** Four distances of a metric as float32. */
@inline
export function distancesF(
  metric: u32, q: usize, inverseNorm: f32, p0: usize, p1: usize, p2: usize, p3: usize, bytes: usize,
): v128 {
  if (metric == EUCLIDEAN) return squaredF(q, p0, p1, p2, p3, bytes);
  if (metric == COSINE) return cosinesF(q, p0, p1, p2, p3, bytes, inverseNorm);
  // 0 − x, so that a product of 0 gives +0.
  return f32x4.sub(f32x4.splat(0), productsF(q, p0, p1, p2, p3, bytes));
}

@inline
function addCodes(sum: v128, q: v128, p: usize): v128 {
  const t = i16x8.sub(q, v128.load_ext<u8>(p));
  return i32x4.add(sum, i32x4.dot_i16x8_s(t, t));
}

/** Squared distances of u8 codes from a query of i16 codes, as u32; `bytes` (of the rows) is a multiple of 16. */
@inline
export function squaredU(q: usize, p0: usize, p1: usize, p2: usize, p3: usize, bytes: usize): v128 {
  const end = p0 + bytes;
  let a = i32x4.splat(0), b = a, c = a, d = a;
  do {
    let x = v128.load(q);
    a = addCodes(a, x, p0);
    b = addCodes(b, x, p1);
    c = addCodes(c, x, p2);
    d = addCodes(d, x, p3);
    x = v128.load(q, 16);
    a = addCodes(a, x, p0 + 8);
    b = addCodes(b, x, p1 + 8);
    c = addCodes(c, x, p2 + 8);
    d = addCodes(d, x, p3 + 8);
    q += 32; p0 += 16; p1 += 16; p2 += 16; p3 += 16;
  } while (p0 < end);
  return sumsI(a, b, c, d);
}

/** The same from one row of u8 codes to four others. */
@inline
export function squaredRowsU(q: usize, p0: usize, p1: usize, p2: usize, p3: usize, bytes: usize): v128 {
  const end = p0 + bytes;
  let a = i32x4.splat(0), b = a, c = a, d = a;
  do {
    let x = v128.load_ext<u8>(q);
    a = addCodes(a, x, p0);
    b = addCodes(b, x, p1);
    c = addCodes(c, x, p2);
    d = addCodes(d, x, p3);
    x = v128.load_ext<u8>(q, 8);
    a = addCodes(a, x, p0 + 8);
    b = addCodes(b, x, p1 + 8);
    c = addCodes(c, x, p2 + 8);
    d = addCodes(d, x, p3 + 8);
    q += 16; p0 += 16; p1 += 16; p2 += 16; p3 += 16;
  } while (p0 < end);
  return sumsI(a, b, c, d);
}

function four(metric: u32, q: usize, inverseNorm: f32, p0: usize, p1: usize, p2: usize, p3: usize, bytes: usize): v128 {
  if (metric == EUCLIDEAN) return distancesF(EUCLIDEAN, q, inverseNorm, p0, p1, p2, p3, bytes);
  if (metric == COSINE) return distancesF(COSINE, q, inverseNorm, p0, p1, p2, p3, bytes);
  return distancesF(DOT, q, inverseNorm, p0, p1, p2, p3, bytes);
}

/** Distance of one float32 row. */
export function distanceFloat(metric: u32, q: usize, inverseNorm: f32, p: usize, bytes: usize): f32 {
  return f32x4.extract_lane(four(metric, q, inverseNorm, p, p, p, p, bytes), 0);
}

/** Distances of the float32 rows at the `count` addresses listed at `addresses` (u32), written to `out` (f32). */
export function distancesFloat(
  metric: u32, q: usize, inverseNorm: f32, addresses: usize, count: u32, bytes: usize, out: usize,
): void {
  let i: u32 = 0;
  for (; i + 4 <= count; i += 4) {
    const at = addresses + (i << 2);
    v128.store(
      out + (i << 2),
      four(metric, q, inverseNorm, load<u32>(at), load<u32>(at, 4), load<u32>(at, 8), load<u32>(at, 12), bytes),
    );
  }
  for (; i < count; i++) {
    store<f32>(out + (i << 2), distanceFloat(metric, q, inverseNorm, load<u32>(addresses + (i << 2)), bytes));
  }
}

/** Squared distance of a row of u8 codes from a query of i16 codes. */
export function distanceCodes(q: usize, p: usize, bytes: usize): u32 {
  return i32x4.extract_lane(squaredU(q, p, p, p, p, bytes), 0);
}

/** The same for four rows, `stride` bytes apart, written to `out` (u32). */
export function distancesCodes(q: usize, p: usize, stride: usize, bytes: usize, out: usize): void {
  v128.store(out, squaredU(q, p, p + stride, p + 2 * stride, p + 3 * stride, bytes));
}

/** Sum of the squares of a float32 row. */
export function squaredNorm(p: usize, bytes: usize): f32 {
  return f32x4.extract_lane(productsF(p, p, p, p, p, bytes), 0);
}
