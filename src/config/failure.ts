// A refusal of a keyspace that its client must see. Everything else that is thrown is a fault of ours.
import type { ErrorCode } from "../wire/error-codes.ts";

export class ConfigRefusal extends Error {
  override readonly name = "ConfigRefusal";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, details?: Readonly<Record<string, unknown>>) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

export function invalid(path: string, message: string, extra: Readonly<Record<string, unknown>> = {}): ConfigRefusal {
  return new ConfigRefusal("invalidRequest", `${path} ${message}`, { issues: [{ path, message, ...extra }] });
}
