// .fvecs and .bvecs (the files of the TEXMEX corpus): for each row its dimension as a little-endian int32, then float32 or uint8 values.
// They hold no ids and no metadata: `sidecar.ts` does.
import { ByteReader } from "./byte-reader.ts";
import { MAX_DIMENSION } from "./limits.ts";
import { floatsOf, malformed, type VectorFile, type VectorRow } from "./rows.ts";

export interface BareRow {
  readonly values: Float32Array;
  readonly number: number;
  readonly doneBytes: number;
}

export type VecsKind = "fvecs" | "bvecs";

/** Little-endian float32, as they are on every machine that runs this. */
export function floatsFrom(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, at) => view.getFloat32(4 * at, true));
}

/** Every row of the file. @throws UsageError that names file, row and what is wrong */
export async function* readVecs(file: VectorFile, kind: VecsKind): AsyncGenerator<BareRow, void, undefined> {
  const reader = new ByteReader(file.stream());
  const valueBytes = kind === "fvecs" ? 4 : 1;
  let dimension: number | undefined;
  try {
    for (let number = 1; ; number++) {
      const refuse = (what: string) => malformed(file, `row ${number}`, what);
      const head = await reader.take(4);
      if (head.length === 0) return;
      if (head.length < 4) throw refuse(`the file ends at byte ${reader.offset}, within the row's dimension`);
      const own = new DataView(head.buffer, head.byteOffset, 4).getInt32(0, true);
      if (own < 1 || own > MAX_DIMENSION) throw refuse(`names ${own} dimensions; a vector has 1 to ${MAX_DIMENSION}`);
      dimension ??= own;
      if (own !== dimension) throw refuse(`has ${own} dimensions; the rows before have ${dimension}`);
      const bytes = await reader.take(own * valueBytes);
      if (bytes.length < own * valueBytes)
        throw refuse(`the file ends at byte ${reader.offset}, within the row's values`);
      yield {
        values: floatsOf(kind === "fvecs" ? floatsFrom(bytes) : bytes, refuse),
        number,
        doneBytes: reader.offset,
      };
    }
  } finally {
    await reader.close();
  }
}

export function fvecsBytes({ values }: VectorRow): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * values.length);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, values.length, true);
  for (let at = 0; at < values.length; at++) view.setFloat32(4 + 4 * at, values[at]!, true);
  return bytes;
}

/** @throws Error where a value is no whole number from 0 to 255 */
export function bvecsBytes({ id, values }: VectorRow): Uint8Array {
  const bytes = new Uint8Array(4 + values.length);
  new DataView(bytes.buffer).setInt32(0, values.length, true);
  for (let at = 0; at < values.length; at++) {
    const value = values[at]!;
    if (!Number.isInteger(value) || value < 0 || value > 255)
      throw new TypeError(
        `vector ${JSON.stringify(id)}: value ${at} is ${value}, a .bvecs file holds whole numbers 0 to 255`,
      );
    bytes[4 + at] = value;
  }
  return bytes;
}
