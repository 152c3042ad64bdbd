// WASM kernels of the storage engine (AssemblyScript): CRC-32C, bloom filter build, merge of sorted blocks.
// Guarantees: byte for byte the results of src/storage/kernels.reference.ts; no state between calls, so instances can be shared.
// Must not: allocate. The host lays out all memory from heapBase() up and passes addresses.

const CRC_TABLES: usize = memory.data(16 * 256 * 4, 16);
const CRC_POLYNOMIAL: u32 = 0x82f63b78;

function buildCrcTables(): void {
  for (let i: u32 = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ CRC_POLYNOMIAL : crc >> 1;
    store<u32>(CRC_TABLES + (i << 2), crc);
  }
  for (let table: u32 = 1; table < 16; table++) {
    for (let i: u32 = 0; i < 256; i++) {
      const before = load<u32>(CRC_TABLES + (((table - 1) << 8) + i << 2));
      store<u32>(CRC_TABLES + ((table << 8) + i << 2), (before >> 8) ^ load<u32>(CRC_TABLES + ((before & 0xff) << 2)));
    }
  }
}
buildCrcTables();

/** First address the host may use. */
export function heapBase(): usize {
  return __heap_base;
}

@inline
function lookup(table: u32, byte: u32): u32 {
  return load<u32>(CRC_TABLES + (table << 10) + (byte << 2));
}

@inline
function slice8(word: u64, base: u32): u32 {
  const low = <u32>word;
  const high = <u32>(word >> 32);
  return (
    lookup(base + 7, low & 0xff) ^
    lookup(base + 6, (low >> 8) & 0xff) ^
    lookup(base + 5, (low >> 16) & 0xff) ^
    lookup(base + 4, low >> 24) ^
    lookup(base + 3, high & 0xff) ^
    lookup(base + 2, (high >> 8) & 0xff) ^
    lookup(base + 1, (high >> 16) & 0xff) ^
    lookup(base, high >> 24)
  );
}

/** CRC-32C by slicing-by-16; `seed` is the CRC of what came before. */
export function crc32c(at: usize, length: u32, seed: u32): u32 {
  let crc = ~seed;
  let rest = length;
  while (rest >= 16) {
    crc = slice8(load<u64>(at) ^ <u64>crc, 8) ^ slice8(load<u64>(at, 8), 0);
    at += 16;
    rest -= 16;
  }
  while (rest > 0) {
    crc = lookup(0, (crc ^ load<u8>(at)) & 0xff) ^ (crc >> 8);
    at++;
    rest--;
  }
  return ~crc;
}

/** Sets the bits of `tokenCount` (hi, lo) pairs in a zeroed filter. */
export function bloomBuild(tokens: usize, tokenCount: u32, filter: usize, filterBytes: u32, hashCount: u32): void {
  const bits = filterBytes << 3;
  for (let i: u32 = 0; i < tokenCount; i++) {
    let hash = load<u32>(tokens);
    const step = load<u32>(tokens, 4) | 1;
    tokens += 8;
    for (let k: u32 = 0; k < hashCount; k++) {
      const bit = hash % bits;
      const at = filter + (bit >> 3);
      store<u8>(at, load<u8>(at) | (<u8>1 << <u8>(bit & 7)));
      hash += step;
    }
  }
}

// The merge request (u32 words), see src/storage/kernels.ts:
//   0 inputCount | 4 limitBytes | 8 force | 12 dropCount | 16 dropTenants | 20 stopAtFlagged | 24 firstRow | 28 rows out |
//   32 offsets out | results: 36 rowBytes | 40 rowCount | 44 flaggedInput | 48 inputs
// An input (40 bytes): 0 block | 4 length | 8 nextRow | 12 last | scratch: 16 rowCount | 20 offsets | 24 row | 32 token u64
const REQUEST_BYTES: usize = 48;
const INPUT_BYTES: usize = 40;
const ROW_HEADER_BYTES: usize = 20;
const FLAG_PURGEABLE: u32 = 1;

const STOP_DONE: u32 = 0;
const STOP_LIMIT: u32 = 1;
const STOP_INPUT: u32 = 2;
const STOP_FLAGGED: u32 = 3;

const FIRST_CHECK: u32 = 0;
const FIRST_DROP: u32 = 2;

@inline
function inputEmpty(input: usize): bool {
  return load<u32>(input, 8) >= load<u32>(input, 16);
}

/** Points the input at its next row. */
@inline
function aim(input: usize): void {
  if (inputEmpty(input)) return;
  const row = load<u32>(input) + load<u32>(load<u32>(input, 20) + (load<u32>(input, 8) << 2));
  store<u32>(input, row, 24);
  store<u64>(input, (<u64>load<u32>(row, 4) << 32) | <u64>load<u32>(row, 8), 32);
}

@inline
function step(input: usize): void {
  store<u32>(input, load<u32>(input, 8) + 1, 8);
  aim(input);
}

@inline
function rowBytes(row: usize): u32 {
  return <u32>ROW_HEADER_BYTES + <u32>load<u16>(row, 2) + load<u32>(row, 16);
}

/** Order of two rows with equal tokens. */
function compareTails(a: usize, b: usize): i32 {
  const aTenant = load<u32>(a, 12);
  const bTenant = load<u32>(b, 12);
  if (aTenant != bTenant) return aTenant < bTenant ? -1 : 1;
  const aKeyBytes = <i32>load<u16>(a, 2);
  const bKeyBytes = <i32>load<u16>(b, 2);
  const order = memory.compare(a + ROW_HEADER_BYTES, b + ROW_HEADER_BYTES, min(aKeyBytes, bKeyBytes));
  return order != 0 ? order : aKeyBytes - bKeyBytes;
}

function tenantDropped(tenant: u32, tenants: usize, count: u32): bool {
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(tenants + (middle << 2)) < tenant) low = middle + 1;
    else high = middle;
  }
  return low < count && load<u32>(tenants + (low << 2)) == tenant;
}

/** Readies the inputs' scratch words. */
function openInputs(inputs: usize, end: usize): void {
  for (let input = inputs; input < end; input += INPUT_BYTES) {
    const block = load<u32>(input);
    const length = load<u32>(input, 4);
    const rowCount = load<u32>(block + length - 4);
    store<u32>(input, rowCount, 16);
    store<u32>(input, block + length - 4 - (rowCount << 2), 20);
    aim(input);
  }
}

/** The input with the least row, the newest among equals; 0 = none, 1 = an input that is not last is empty. */
function winner(inputs: usize, end: usize): usize {
  let best: usize = 0;
  for (let input = inputs; input < end; input += INPUT_BYTES) {
    if (inputEmpty(input)) {
      if (load<u32>(input, 12) == 0) return 1;
      continue;
    }
    if (best == 0) {
      best = input;
      continue;
    }
    const token = load<u64>(input, 32);
    const bestToken = load<u64>(best, 32);
    if (token < bestToken || (token == bestToken && compareTails(load<u32>(input, 24), load<u32>(best, 24)) < 0)) {
      best = input;
    }
  }
  return best;
}

function consume(inputs: usize, end: usize, best: usize): void {
  const row = load<u32>(best, 24);
  const token = load<u64>(best, 32);
  for (let input = inputs; input < end; input += INPUT_BYTES) {
    if (input == best || inputEmpty(input) || load<u64>(input, 32) != token) continue;
    if (compareTails(load<u32>(input, 24), row) == 0) step(input);
  }
  step(best);
}

/** One merge step; returns why it stopped. Results go into the request and the inputs' nextRow. */
export function mergeBlocks(request: usize): u32 {
  const inputs = request + REQUEST_BYTES;
  const end = inputs + <usize>load<u32>(request) * INPUT_BYTES;
  const limit = load<u32>(request, 4);
  const force = load<u32>(request, 8);
  const dropCount = load<u32>(request, 12);
  const dropTenants = load<u32>(request, 16);
  const stopAtFlagged = load<u32>(request, 20);
  const firstRow = load<u32>(request, 24);
  const out = load<u32>(request, 28);
  const offsets = load<u32>(request, 32);
  let length: u32 = 0;
  let rowCount: u32 = 0;
  let first = true;
  let stop = STOP_DONE;
  openInputs(inputs, end);
  store<i32>(request, -1, 44);
  while (true) {
    const best = winner(inputs, end);
    if (best <= 1) {
      if (best == 1) stop = STOP_INPUT;
      break;
    }
    const row = load<u32>(best, 24);
    const answered = first && firstRow != FIRST_CHECK;
    if ((dropCount != 0 && tenantDropped(load<u32>(row, 12), dropTenants, dropCount)) || (answered && firstRow == FIRST_DROP)) {
      if (answered) first = false;
      consume(inputs, end, best);
      continue;
    }
    if (stopAtFlagged != 0 && !answered && (<u32>load<u8>(row, 1) & FLAG_PURGEABLE) != 0) {
      stop = STOP_FLAGGED;
      store<i32>(request, <i32>((best - inputs) / INPUT_BYTES), 44);
      break;
    }
    const size = rowBytes(row);
    if (length + size > limit && !(force != 0 && length == 0)) {
      stop = STOP_LIMIT;
      break;
    }
    first = false;
    store<u32>(offsets + (rowCount << 2), length);
    rowCount++;
    memory.copy(out + length, row, size);
    length += size;
    consume(inputs, end, best);
  }
  store<u32>(request, length, 36);
  store<u32>(request, rowCount, 40);
  return stop;
}
