// The binary form of a batch (docs/vectors.md, byte by byte): a header, all values in one block, then ids and metadata row by row.
// Guarantees: anything else is `invalidRequest` that names the offset; nothing is allocated that the bytes do not pay for.
// All numbers are little endian.
//
//   0  4  magic "JVB1"
//   4  1  form of the values: 0 float32, 1 float16, 2 int8
//   5  3  zero
//   8  4  u32 count
//  12  4  u32 dimension
//  16  4  float32 scale: an int8 value stands for code × scale; 0 for the other forms
//  20     count × dimension values, row after row
//   …     count times: u16 length of the id, id (UTF-8; length 0: one is made), u32 length of the metadata, metadata (JSON text; length 0: none)
import { MAX_DIMENSION } from "../vector/index/limits.ts";
import { PublicError } from "../wire/error-codes.ts";
import { invalidRequest } from "./issues.ts";
import { MAX_BATCH_VECTORS, MAX_VECTOR_BODY_BYTES } from "./limits.ts";

export interface BinaryRow {
  /** Empty = one is to be made. */
  readonly id: string;
  readonly values: Uint8Array;
  readonly metadata: Uint8Array;
}

const HEADER_BYTES = 20;
const MAGIC = 0x3142564a; // "JVB1"
const VALUE_BYTES = [4, 2, 1] as const;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface Header {
  readonly form: 0 | 1 | 2;
  readonly count: number;
  readonly dimension: number;
  readonly scale: number;
}

function refused(offset: number, message: string, limit?: number): PublicError {
  return invalidRequest([{ path: `byte ${offset}`, message, ...(limit !== undefined && { limit }) }]);
}

function readHeader(bytes: Uint8Array): Header {
  if (bytes.length < HEADER_BYTES) throw refused(0, `the body has ${bytes.length} bytes; its header alone has 20`, 20);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0, true) !== MAGIC) throw refused(0, 'must be "JVB1"');
  const form = view.getUint8(4);
  if (form > 2) throw refused(4, `names the form ${form}; there are 0 float32, 1 float16, 2 int8`, 2);
  if (view.getUint32(4, true) >>> 8 !== 0) throw refused(5, "must be three zero bytes");
  const count = view.getUint32(8, true);
  if (count === 0 || count > MAX_BATCH_VECTORS) throw refused(8, `counts ${count} vectors`, MAX_BATCH_VECTORS);
  const dimension = view.getUint32(12, true);
  if (dimension === 0 || dimension > MAX_DIMENSION) throw refused(12, `is dimension ${dimension}`, MAX_DIMENSION);
  const scale = view.getFloat32(16, true);
  const isScaled = form === 2;
  if (isScaled ? !Number.isFinite(scale) || scale <= 0 : view.getUint32(16, true) !== 0)
    throw refused(16, isScaled ? "must be a scale above 0" : "must be 0: only int8 has a scale");
  return { form: form as Header["form"], count, dimension, scale };
}

/** float32 bytes of all values; of float32 the very bytes that came. */
function floatsOf(bytes: Uint8Array, { form, count, dimension, scale }: Header): Uint8Array {
  const numbers = count * dimension;
  if (numbers * 4 > MAX_VECTOR_BODY_BYTES) {
    const message = `the batch is ${numbers * 4} bytes in float32, the limit is ${MAX_VECTOR_BODY_BYTES}`;
    throw new PublicError("payloadTooLarge", message, { size: numbers * 4, limit: MAX_VECTOR_BODY_BYTES });
  }
  const end = HEADER_BYTES + numbers * VALUE_BYTES[form];
  if (end > bytes.length) throw refused(bytes.length, `the body ends within its values, which end at byte ${end}`);
  const block = bytes.subarray(HEADER_BYTES, end);
  if (form === 0) return block;
  const floats = new Float32Array(numbers);
  if (form === 2) {
    for (let at = 0; at < numbers; at++) floats[at] = ((block[at]! << 24) >> 24) * scale;
  } else {
    for (let at = 0; at < numbers; at++) floats[at] = halfOf(block[2 * at]! | (block[2 * at + 1]! << 8));
  }
  return new Uint8Array(floats.buffer);
}

/** IEEE 754 binary16. */
export function halfOf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function readBinaryBatch(bytes: Uint8Array): readonly BinaryRow[] {
  const header = readHeader(bytes);
  const floats = floatsOf(bytes, header);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const rowBytes = header.dimension * 4;
  let at = HEADER_BYTES + header.count * header.dimension * VALUE_BYTES[header.form];
  const take = (lengthBytes: 2 | 4, what: string, row: number): Uint8Array => {
    const isThere = at + lengthBytes <= bytes.length;
    const length = !isThere ? 0 : lengthBytes === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
    const start = at + lengthBytes;
    if (!isThere || start + length > bytes.length)
      throw refused(at, `the body ends within the ${what} of vectors[${row}]`);
    at = start + length;
    return bytes.subarray(start, at);
  };
  const rows: BinaryRow[] = [];
  for (let row = 0; row < header.count; row++) {
    const idAt = at;
    const id = textOf(take(2, "id", row), idAt, row);
    const metadata = take(4, "metadata", row);
    rows.push({ id, metadata, values: floats.subarray(row * rowBytes, (row + 1) * rowBytes) });
  }
  if (at !== bytes.length) throw refused(at, `${bytes.length - at} bytes follow the last vector`);
  return rows;
}

function textOf(bytes: Uint8Array, offset: number, row: number): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw refused(offset, `the id of vectors[${row}] is not UTF-8`);
  }
}
