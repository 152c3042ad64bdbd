// What a row must be before it is stored. Guarantees: every refusal names the field, and where it helps the value and the limit.
import { invalid, VectorRefusal } from "../failure.ts";
import { MAX_METADATA_BYTES } from "../metadata/limits.ts";
import { checkMetadata, type MetadataSchema } from "../metadata/schema.ts";
import type { JsonObject } from "../metadata/values.ts";
import type { Metric } from "../metric.ts";
import { MAX_ID_BYTES } from "../segment/limits.ts";
import { MAX_VECTOR_LENGTH, MIN_COSINE_LENGTH } from "./limits.ts";

export interface RowRules {
  readonly dimension: number;
  readonly metric: Metric;
  readonly schema: MetadataSchema | undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** `at`: the path of the row in its request, "" or "vectors[3]". */
export function checkId(id: string, at = ""): void {
  const path = at === "" ? "id" : `${at}.id`;
  if (id === "") throw invalid(path, "must not be empty");
  if (!id.isWellFormed()) throw invalid(path, "must be valid Unicode");
  const { length } = encoder.encode(id);
  if (length > MAX_ID_BYTES)
    throw invalid(path, `has ${length} bytes; at most ${MAX_ID_BYTES}`, { limit: MAX_ID_BYTES });
}

/** Gives them as numbers: a view where that is possible. */
export function checkValues(
  values: Uint8Array,
  { dimension, metric }: Omit<RowRules, "schema">,
  path = "values",
): Float32Array {
  if (values.length !== dimension * 4) {
    const count = values.length / 4;
    throw invalid(path, `has ${count} numbers; the database has vectorDimension ${dimension}`, {
      value: count,
      limit: dimension,
    });
  }
  const aligned = values.byteOffset % 4 === 0 ? values : values.slice();
  const numbers = new Float32Array(aligned.buffer, aligned.byteOffset, dimension);
  let squares = 0;
  for (let index = 0; index < dimension; index++) {
    const number = numbers[index]!;
    if (!Number.isFinite(number))
      throw invalid(`${path}[${index}]`, "must be a finite float32", { value: String(number) });
    squares += number * number;
  }
  const value = Math.sqrt(squares);
  if (value > MAX_VECTOR_LENGTH) {
    const message = `have the length ${value.toPrecision(4)}; beyond ${MAX_VECTOR_LENGTH.toExponential()} distances are no float32`;
    throw invalid(path, message, { value, limit: MAX_VECTOR_LENGTH });
  }
  if (metric !== "cosine") return numbers;
  if (squares === 0) throw invalid(path, "are all zero: cosine similarity has no meaning for it");
  if (value < MIN_COSINE_LENGTH) {
    const message = `have the length ${value.toPrecision(4)}; below ${MIN_COSINE_LENGTH} their direction is lost in float32`;
    throw invalid(path, message, { value, limit: MIN_COSINE_LENGTH });
  }
  return numbers;
}

/** JSON text of an object. */
export function checkMetadataBytes(bytes: Uint8Array, { schema }: Pick<RowRules, "schema">, path = "metadata"): void {
  if (bytes.length > MAX_METADATA_BYTES) {
    const message = `${path} has ${bytes.length} bytes; at most ${MAX_METADATA_BYTES}`;
    throw new VectorRefusal("payloadTooLarge", message, { limit: MAX_METADATA_BYTES });
  }
  const metadata = bytes.length === 0 ? {} : parsed(bytes, path);
  checkMetadata(metadata, schema, path);
}

function parsed(bytes: Uint8Array, path: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    // SyntaxError or TypeError: both mean that this is no JSON text.
    throw invalid(path, "must be valid JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(path, "must be an object");
  return value as JsonObject;
}
