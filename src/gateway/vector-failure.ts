// Failures of the vector engine as errors for the client.
import { VectorRefusal } from "../vector/failure.ts";
import { isErrorCode, PublicError } from "../wire/error-codes.ts";
import type { VectorFailure } from "../wire/vector.ts";

export function publicErrorFrom({ code, message, details }: Omit<VectorFailure, "kind">): PublicError {
  return new PublicError(isErrorCode(code) ? code : "internal", message, details);
}

/** Runs what may refuse its input. */
export function asPublic<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof VectorRefusal) throw new PublicError(error.code, error.message, error.details);
    throw error;
  }
}
