// How large the answer to a request can be at most, so that the answers to one frame stay one message.
// Guarantees: never less than the keys and values that the answer holds, but where the keyspace itself refuses more. Pure.
import type { ConfigRequest } from "../wire/config.ts";
import { MAX_ANSWER_BYTES, MAX_FRAME_ANSWER_BYTES, MAX_KEY_BYTES, MAX_RANGE_BYTES, MAX_VALUE_BYTES } from "./limits.ts";

/** Numbers, key and message of an answer without values. */
const PLAIN_BYTES = 2 * MAX_KEY_BYTES;
const ONE_KEY_BYTES = PLAIN_BYTES + MAX_VALUE_BYTES;

export function mostAnswerBytes(request: ConfigRequest): number {
  switch (request.kind) {
    case "range":
      if (request.countOnly) return PLAIN_BYTES;
      if (request.rangeEnd === "") return request.keysOnly ? PLAIN_BYTES : ONE_KEY_BYTES;
      return (
        Math.min(request.maxBytes ? request.maxBytes + ONE_KEY_BYTES : MAX_RANGE_BYTES, MAX_RANGE_BYTES) + PLAIN_BYTES
      );
    case "put":
      return request.prevKv ? ONE_KEY_BYTES : PLAIN_BYTES;
    case "deleteRange":
      if (!request.prevKv) return PLAIN_BYTES;
      return request.rangeEnd === "" ? ONE_KEY_BYTES : MAX_ANSWER_BYTES;
    case "txn": {
      const most = Math.max(...[request.success, request.failure].map(sumOf));
      return Math.min(MAX_FRAME_ANSWER_BYTES, PLAIN_BYTES + most);
    }
    case "leaseTimeToLive":
      return request.withKeys ? MAX_RANGE_BYTES : PLAIN_BYTES;
    case "leases":
      return MAX_RANGE_BYTES;
    case "compact":
    case "leaseGrant":
    case "leaseRevoke":
    case "leaseKeepAlive":
    case "status":
      return PLAIN_BYTES;
    default:
      return request satisfies never;
  }
}

function sumOf(operations: readonly ConfigRequest[]): number {
  let sum = 0;
  for (const operation of operations) sum += mostAnswerBytes(operation);
  return sum;
}
