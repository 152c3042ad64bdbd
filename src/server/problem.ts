// Errors that the operator caused or can mend: printed without a stack, with what to do, and an exit code.

/** Exit codes of `jade-db serve`. 2 is kept for wrong configuration, so that scripts can tell. */
export const exitCodes = { ok: 0, failed: 1, invalidConfiguration: 2 } as const;

/** The message says what is wrong and what to do about it; it may have several lines. */
export class OperatorError extends Error {
  override readonly name = "OperatorError";
  readonly exitCode: number;

  constructor(message: string, options?: { readonly exitCode?: number; readonly cause?: unknown }) {
    super(message, { cause: options?.cause });
    this.exitCode = options?.exitCode ?? exitCodes.failed;
  }
}

/** The `code` of a Node system error (`EACCES`), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
