// The pool of the k nearest: a max-heap of u64 keys, distance << 32 | row. Distances compare as u32; ties go to the lower row.
// Layout: u32 size, 12 bytes free, then the keys. Worst case O(log k) a row, whatever order rows come in.

const KEYS: usize = 16;

/** float32 → u32 in the same order, negatives below positives. */
@inline
export function ordered(distance: f32): u32 {
  const bits = reinterpret<u32>(distance);
  return bits ^ (<u32>(<i32>bits >> 31) | 0x80000000);
}

@inline
export function unordered(key: u32): f32 {
  return reinterpret<f32>(key ^ (<u32>~(<i32>key >> 31) | 0x80000000));
}

/** The distance that a row must not exceed to enter; all ones while there is room. */
@inline
export function heapWorst(heap: usize, k: u32): u32 {
  return load<u32>(heap) < k ? 0xffffffff : load<u32>(heap + KEYS, 4);
}

@inline
export function heapOffer(heap: usize, k: u32, key: u64): void {
  const size = load<u32>(heap);
  if (size < k) {
    siftUp(heap + KEYS, size, key);
    store<u32>(heap, size + 1);
  } else if (key < load<u64>(heap + KEYS)) siftDown(heap + KEYS, size, key);
}

function siftUp(keys: usize, at: u32, key: u64): void {
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const other = load<u64>(keys + (<usize>parent << 3));
    if (other >= key) break;
    store<u64>(keys + (<usize>at << 3), other);
    at = parent;
  }
  store<u64>(keys + (<usize>at << 3), key);
}

/** Puts `key` in place of the root. */
function siftDown(keys: usize, size: u32, key: u64): void {
  let at: u32 = 0;
  for (;;) {
    let child: u32 = (at << 1) + 1;
    if (child >= size) break;
    let other = load<u64>(keys + (<usize>child << 3));
    if (child + 1 < size) {
      const right = load<u64>(keys + (<usize>child << 3), 8);
      if (right > other) {
        other = right;
        child++;
      }
    }
    if (other <= key) break;
    store<u64>(keys + (<usize>at << 3), other);
    at = child;
  }
  store<u64>(keys + (<usize>at << 3), key);
}

/** Sorts the keys of the pool, nearest first. */
export function heapSort(heap: usize): void {
  const keys = heap + KEYS;
  for (let size = load<u32>(heap); size > 1; size--) {
    const last = keys + (<usize>(size - 1) << 3);
    const key = load<u64>(last);
    store<u64>(last, load<u64>(keys));
    siftDown(keys, size - 1, key);
  }
}

/**
 * Writes `count` sorted keys as rows (u32) and distances (f32): key × scale + offset, where a key is an integer (form 0), the bits of
 * a float32 that is not negative (form 1), or an ordered float32 (form 2). Rows are shifted right by `shift` (the flags of a walk).
 */
export function readKeys(
  keys: usize, count: u32, shift: u32, form: u32, scale: f64, offset: f64, rows: usize, distances: usize,
): void {
  for (let i: u32 = 0; i < count; i++) {
    const key = load<u64>(keys + (<usize>i << 3));
    const high = <u32>(key >> 32);
    store<u32>(rows + (<usize>i << 2), <u32>key >> shift);
    const value: f64 = form == 0 ? <f64>high : form == 1 ? <f64>reinterpret<f32>(high) : <f64>unordered(high);
    store<f32>(distances + (<usize>i << 2), <f32>(value * scale + offset));
  }
}

/**
 * Of `count` sorted keys of code distances, how many may be among the `k` nearest by exact distance: those within three standard
 * errors of the k-th. Rounding two vectors errs by 1/6 in the square of a coordinate, so 2·√(d/6) in a squared distance d.
 */
export function withinError(keys: usize, count: u32, k: u32): u32 {
  if (count <= k || k == 0) return min(count, k);
  const base = <f64>load<u32>(keys + (<usize>(k - 1) << 3), 4);
  const bound = base + 4 + 3.5 * Math.sqrt(base);
  let end = k;
  while (end < count && <f64>load<u32>(keys + (<usize>end << 3), 4) <= bound) end++;
  return end;
}
