// How a request asks for vectors.
import { BoundedMap } from "../access/bounded-map.ts";
import { VECTOR_TOKEN_HEADER } from "../wire/vector-token.ts";
import type { Call } from "./call.ts";
import { invalidRequest } from "./issues.ts";
import { type VectorConsistency, VectorReading } from "./vector-reading.ts";

export interface ReadAsk {
  readonly consistency?: VectorConsistency | undefined;
  readonly deadlineMs?: number | undefined;
}

/** Says how a request reads. Once, before its first shard is asked. */
export function readAs(call: Call, { consistency, deadlineMs }: ReadAsk): void {
  const reading = readingOf(call);
  if (consistency) reading.consistency = consistency;
  if (deadlineMs) reading.deadlineMs = deadlineMs;
}

export function readingOf(call: Call): VectorReading {
  call.reading ??= new VectorReading(call.request.headers.get(VECTOR_TOKEN_HEADER));
  return call.reading;
}

/** Of one client's searches most say the same: what they say is judged once. */
const MAX_KNOWN_OPTIONS = 100;
const MAX_KNOWN_CHARACTERS = 300;

/** As `parse`, of JSON text; empty = no fields. What it gives is shared: not to be changed. */
export function optionsParser<T>(parse: (json: Record<string, unknown>) => T): (text: string) => T {
  const known = new BoundedMap<string, { readonly value: T }>(MAX_KNOWN_OPTIONS);
  return (text) => {
    const held = known.get(text);
    if (held) return held.value;
    const value = parse(text === "" ? {} : parsedOptions(text));
    if (text.length <= MAX_KNOWN_CHARACTERS) known.set(text, { value });
    return value;
  };
}

/** Fields of a request that stand as JSON text beside bytes. */
export function parsedOptions(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // SyntaxError: told below, as any other text that is no object.
  }
  throw invalidRequest([{ path: "options", message: "is not the JSON text of an object" }]);
}
