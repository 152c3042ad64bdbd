// .npy, NumPy's file of one array, versions 1 to 3: two dimensions, C order, float32, float64, int8 or uint8.
// It holds no ids and no metadata: `sidecar.ts` does.
import { ByteReader } from "./byte-reader.ts";
import { MAX_DIMENSION, MAX_NPY_HEADER_BYTES } from "./limits.ts";
import { floatsOf, malformed, type VectorFile } from "./rows.ts";
import { type BareRow, floatsFrom } from "./vecs.ts";

const MAGIC = "\x93NUMPY";
/** A header that is written: NumPy aligns to 64, and the number of rows is filled in at the end. Bytes. */
export const NPY_HEADER_BYTES = 128;

type Decode = (bytes: Uint8Array) => ArrayLike<number>;
interface ValueType {
  readonly bytes: number;
  readonly decode: Decode;
}

const TYPES: Readonly<Record<string, ValueType>> = {
  "<f4": { bytes: 4, decode: floatsFrom },
  "<f8": {
    bytes: 8,
    decode: (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      return Float64Array.from({ length: bytes.byteLength / 8 }, (_, at) => view.getFloat64(8 * at, true));
    },
  },
  "|i1": { bytes: 1, decode: (bytes) => new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) },
  "|u1": { bytes: 1, decode: (bytes) => bytes },
};

interface NpyHeader {
  readonly rowCount: number;
  readonly dimension: number;
  readonly type: ValueType;
}

function member(header: string, name: string, value: RegExp): string | undefined {
  return new RegExp(`['"]${name}['"]\\s*:\\s*(${value.source})\\s*[,}]`).exec(header)?.[1];
}

function parseHeader(file: VectorFile, header: string): NpyHeader {
  const refuse = (what: string) => malformed(file, "header", what);
  const quoted = member(header, "descr", /'[^']{0,20}'|"[^"]{0,20}"/);
  const order = member(header, "fortran_order", /True|False/);
  const shape = member(header, "shape", /\([\d\s,L]{0,60}\)/);
  if (quoted === undefined || order === undefined || shape === undefined)
    throw refuse("must name one descr, fortran_order and shape");
  const descr = quoted.slice(1, -1);
  const type = Object.hasOwn(TYPES, descr) ? TYPES[descr] : undefined;
  if (!type) throw refuse(`values are ${descr}; must be one of ${Object.keys(TYPES).join(", ")}`);
  if (order === "True") throw refuse("is in Fortran order; save numpy.ascontiguousarray(a)");
  const sizes = shape
    .slice(1, -1)
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "")
    .map(Number);
  const [rowCount, dimension] = sizes;
  if (sizes.length !== 2 || rowCount === undefined || dimension === undefined || !sizes.every(Number.isSafeInteger))
    throw refuse(`the array's shape is ${shape}; must be (rows, dimensions)`);
  if (dimension < 1 || dimension > MAX_DIMENSION)
    throw refuse(`names ${dimension} dimensions; a vector has 1 to ${MAX_DIMENSION}`);
  return { rowCount, dimension, type };
}

async function readHeader(file: VectorFile, reader: ByteReader): Promise<NpyHeader> {
  const refuse = (what: string) => malformed(file, "header", what);
  const start = await reader.take(8);
  if (start.length < 8 || String.fromCharCode(...start.subarray(0, 6)) !== MAGIC) throw refuse("is no .npy file");
  const [major, minor] = [start[6]!, start[7]!];
  if (major < 1 || major > 3) throw refuse(`is of version ${major}.${minor}; must be 1, 2 or 3`);
  const length = await reader.take(major === 1 ? 2 : 4);
  if (length.length < (major === 1 ? 2 : 4)) throw refuse("the file ends within it");
  const byteCount = length.reduceRight((sum, byte) => sum * 256 + byte, 0);
  if (byteCount > MAX_NPY_HEADER_BYTES)
    throw refuse(`has ${byteCount} bytes; at most ${MAX_NPY_HEADER_BYTES} are read`);
  const text = await reader.take(byteCount);
  if (text.length < byteCount) throw refuse("the file ends within it");
  return parseHeader(file, new TextDecoder("latin1").decode(text));
}

/** Every row of the file. @throws UsageError that names file, row and what is wrong */
export async function* readNpy(file: VectorFile): AsyncGenerator<BareRow, void, undefined> {
  const reader = new ByteReader(file.stream());
  try {
    const { rowCount, dimension, type } = await readHeader(file, reader);
    const rowBytes = dimension * type.bytes;
    const expected = reader.offset + rowCount * rowBytes;
    if (file.byteCount !== expected)
      throw malformed(
        file,
        "header",
        `tells of ${expected} bytes in all (${rowCount} rows of ${dimension}); the file has ${file.byteCount}`,
      );
    for (let number = 1; number <= rowCount; number++) {
      const refuse = (what: string) => malformed(file, `row ${number}`, what);
      const bytes = await reader.take(rowBytes);
      if (bytes.length < rowBytes) throw refuse(`the file ends at byte ${reader.offset}, within the row`);
      yield { values: floatsOf(type.decode(bytes), refuse), number, doneBytes: reader.offset };
    }
  } finally {
    await reader.close();
  }
}

/** A header of version 1 for float32 rows, always of the same length. */
export function npyHeader(rowCount: number, dimension: number): Uint8Array {
  const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rowCount}, ${dimension}), }`;
  const text = `${MAGIC}\x01\x00\x00\x00${dictionary}`.padEnd(NPY_HEADER_BYTES - 1);
  const bytes = Uint8Array.from(`${text}\n`, (character) => character.charCodeAt(0));
  new DataView(bytes.buffer).setUint16(8, NPY_HEADER_BYTES - 10, true);
  return bytes;
}
