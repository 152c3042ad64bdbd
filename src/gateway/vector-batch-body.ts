// The vectors of a batch's body: JSON, newline-delimited JSON, or binary.
// Guarantees: one item that is wrong is told by its place and stops no other; a body that is wrong as a whole is refused as a whole.
import { PublicError } from "../wire/error-codes.ts";
import { rawItems, rawMember } from "../wire/raw-json.ts";
import type { VectorFailure } from "../wire/vector.ts";
import { parseJsonObject } from "./body.ts";
import type { RawObject } from "./config-fields.ts";
import { invalidRequest } from "./issues.ts";
import { MAX_BATCH_VECTORS } from "./limits.ts";
import { readBinaryBatch } from "./vector-binary.ts";
import { itemOf, madeId, placedFailure, type ReadItem } from "./vector-fields.ts";

/** `given`: to be made values of; until then there are none. */
export type BatchItem = ReadItem | { readonly id: string; readonly failure: VectorFailure };

const NEWLINE = 0x0a;

function readItem(read: () => ReadItem, id: string, index: number): BatchItem {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof PublicError)) throw error;
    return { id, failure: placedFailure(error, "", `vectors[${index}]`) };
  }
}

function idOf(json: unknown, made: string): string {
  const id = (json as { id?: unknown } | null)?.id;
  return typeof id === "string" ? id.slice(0, 512) : made;
}

export function jsonItems(vectors: readonly unknown[], raw: RawObject, writeId: Uint8Array): readonly BatchItem[] {
  const list = rawMember(raw.bytes, "vectors", raw.start)!;
  const slices = rawItems(raw.bytes, list.start);
  return vectors.map((json, index) => {
    const made = madeId(writeId, index);
    const item = { bytes: raw.bytes, start: slices[index]!.start };
    return readItem(() => itemOf(json, item, made), idOf(json, made), index);
  });
}

export function lineItems(bytes: Uint8Array, writeId: Uint8Array): readonly BatchItem[] {
  const items: BatchItem[] = [];
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    const line = bytes.subarray(start, end);
    start = end + 1;
    if (line.every((byte) => byte <= 0x20)) continue;
    const index = items.length;
    if (index >= MAX_BATCH_VECTORS) {
      const message = "has more lines than a batch may have";
      throw invalidRequest([{ path: "vectors", message, limit: MAX_BATCH_VECTORS }]);
    }
    const made = madeId(writeId, index);
    let json: unknown;
    const read = (): ReadItem => {
      json = parseJsonObject(line);
      return itemOf(json, { bytes: line, start: 0 }, made);
    };
    const item = readItem(read, made, index);
    items.push("failure" in item ? { ...item, id: idOf(json, made) } : item);
  }
  if (items.length === 0) throw invalidRequest([{ path: "vectors", message: "are none", limit: 1 }]);
  return items;
}

export function binaryItems(bytes: Uint8Array, writeId: Uint8Array): readonly BatchItem[] {
  return readBinaryBatch(bytes).map((row, index) => ({
    input: row.id === "" ? { ...row, id: madeId(writeId, index) } : row,
  }));
}
