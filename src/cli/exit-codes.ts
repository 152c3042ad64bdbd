// How failures end: one clear line on stderr, what to do, and an exit code that scripts can rely on (docs/cli.md).
import { isAccessDenied, isConflict, isJadeError, isNotFound, type JadeError } from "../client/index.ts";

export const EXIT = { ok: 0, error: 1, usage: 2, notFound: 3, access: 4, conflict: 5, unavailable: 6 } as const;

/** Wrong arguments or input files: told without a stack. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The work itself ended badly (a verification found differences); the message says it all. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.error) {
    super(message);
    this.exitCode = exitCode;
  }
}

function codeOf(error: JadeError): number {
  if (isNotFound(error)) return EXIT.notFound;
  if (isAccessDenied(error)) return EXIT.access;
  if (isConflict(error)) return EXIT.conflict;
  // What the configuration store says of keys, leases and revisions.
  if (error.category === "state") return error.status === 404 ? EXIT.notFound : EXIT.conflict;
  if (error.category === "availability" || error.category === "capacity") return EXIT.unavailable;
  if (error.category === "request") return EXIT.usage;
  return EXIT.error;
}

/** Field by field, when the server says which ones are wrong. */
function issueLines(error: JadeError): string[] {
  const { issues } = error.details;
  if (!Array.isArray(issues)) return [];
  return issues.map((issue) => `  ${typeof issue === "string" ? issue : JSON.stringify(issue)}`);
}

/** What is printed for an error, and how the process ends. */
export function explain(error: unknown): { readonly text: string; readonly exitCode: number } {
  if (isJadeError(error)) {
    const id = error.requestId === undefined ? "" : ` (request ${error.requestId})`;
    const writeId = error.writeId === undefined ? [] : [`  write id: ${error.writeId} (repeat with --write-id)`];
    const lines = [
      `jade-db: ${error.code}: ${error.message}${id}`,
      ...issueLines(error),
      ...writeId,
      `  ${error.help}`,
    ];
    return { text: lines.join("\n"), exitCode: codeOf(error) };
  }
  if (error instanceof CommandFailure) return { text: `jade-db: ${error.message}`, exitCode: error.exitCode };
  if (error instanceof UsageError || error instanceof TypeError)
    return { text: `jade-db: ${error.message}`, exitCode: EXIT.usage };
  return { text: `jade-db: ${error instanceof Error ? error.message : String(error)}`, exitCode: EXIT.error };
}
