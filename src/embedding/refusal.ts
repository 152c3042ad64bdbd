// A refusal of the embedding engine that its client must see. Everything else that is thrown is a fault of ours.
import type { ErrorCode } from "../wire/error-codes.ts";

export class EmbeddingRefusal extends Error {
  override readonly name = "EmbeddingRefusal";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, details?: Readonly<Record<string, unknown>>) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** `invalidRequest` that names the field, and where it helps the value and the limit. */
export function invalid(
  path: string,
  message: string,
  extra: Readonly<Record<string, unknown>> = {},
): EmbeddingRefusal {
  return new EmbeddingRefusal("invalidRequest", `${path} ${message}`, { issues: [{ path, message, ...extra }] });
}

/** A model file that cannot be read: what is wrong, and at which line or byte. */
export function badFile(message: string): EmbeddingRefusal {
  return invalid("file", message);
}
