// CRC32C (Castagnoli) in plain TypeScript, for what runs without the WASM kernels: SDK, CLI, gateway.
// Guarantee: the same values as the kernels'. Must not: be used where a write waits for it.

/** Four tables: four bytes a step. */
const TABLES = ((): readonly Uint32Array[] => {
  const first = new Uint32Array(256).map((_, index) => {
    let crc = index;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    return crc >>> 0;
  });
  const tables = [first];
  for (let n = 1; n < 4; n++) {
    const previous = tables[n - 1]!;
    tables.push(previous.map((crc) => (first[crc & 0xff]! ^ (crc >>> 8)) >>> 0));
  }
  return tables;
})();

/** `seed`: of the bytes before. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  const [t0, t1, t2, t3] = TABLES as readonly [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  let crc = ~seed;
  let at = 0;
  for (const end = bytes.length - 3; at < end; at += 4) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc = t3[crc & 0xff]! ^ t2[(crc >>> 8) & 0xff]! ^ t1[(crc >>> 16) & 0xff]! ^ t0[crc >>> 24]!;
  }
  for (; at < bytes.length; at++) crc = t0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
