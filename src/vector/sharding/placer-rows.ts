// Rows on their way to their shards, as the placer handles them. Pure.
import type {
  EarlierVersion,
  VectorFailure,
  VectorInput,
  VectorShown,
  VectorStamp,
  WrittenAnswer,
} from "../../wire/vector.ts";
import type { JsonObject } from "../metadata/values.ts";

export type Result = WrittenAnswer["results"][number];

/** A row on its way into the shard where it belongs. */
export interface Placing {
  readonly at: number;
  readonly row: VectorInput;
  readonly held: number;
  readonly target: number;
}

const decoder = new TextDecoder();

export function movedAsItIs({ id, stamp, values, metadata = new Uint8Array(0) }: VectorShown): VectorInput {
  const { version, createdMs, updatedMs } = stamp;
  return { id, values: values!, metadata, before: { version, createdMs, updatedMs } };
}

export function earlier({ version, createdMs }: VectorStamp): EarlierVersion {
  return { version, createdMs, updatedMs: 0 };
}

export function isFailure(result: NonNullable<Result>): result is VectorFailure {
  return "kind" in result;
}

export function isUnknown(result: Result): boolean {
  return result !== null && isFailure(result) && result.code === "unknownOutcome";
}

/** Places of rows, in runs without two of one id. */
export function withoutTwins(rows: readonly VectorInput[]): readonly (readonly number[])[] {
  const runs: number[][] = [];
  let seen = new Set<string>();
  for (const [at, { id }] of rows.entries()) {
    if (runs.length === 0 || seen.has(id)) {
      runs.push([]);
      seen = new Set();
    }
    runs.at(-1)!.push(at);
    seen.add(id);
  }
  return runs;
}

export function byTarget(placing: readonly Placing[]): ReadonlyMap<number, readonly Placing[]> {
  return Map.groupBy(placing, ({ target }) => target);
}

export function parsed(metadata: Uint8Array): JsonObject | undefined {
  if (metadata.length === 0) return {};
  try {
    const json: unknown = JSON.parse(decoder.decode(metadata));
    return typeof json === "object" && json !== null && !Array.isArray(json) ? (json as JsonObject) : undefined;
  } catch {
    // SyntaxError: the shard refuses it, with its place.
    return undefined;
  }
}
