// How a request asks for vectors.
import { VECTOR_TOKEN_HEADER } from "../wire/vector-token.ts";
import type { Call } from "./call.ts";
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
