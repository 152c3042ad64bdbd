// Structured logs: one JSON object a line, with levels.
// Guarantees: below the level nothing is formatted; anything shaped like an API key, a signed token or a bearer token is blanked, errors are
// logged whole otherwise. Must not: be given keys, values or tokens in fields; callers name ids, routes, codes and counts.

export const LOG_LEVELS = ["debug", "info", "warn", "error", "off"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogField = string | number | boolean | null | undefined;

export interface Logger {
  isOn(level: LogLevel): boolean;
  debug(event: string, fields?: Readonly<Record<string, LogField>>): void;
  info(event: string, fields?: Readonly<Record<string, LogField>>): void;
  warn(event: string, fields?: Readonly<Record<string, LogField>>, error?: unknown): void;
  error(event: string, fields?: Readonly<Record<string, LogField>>, error?: unknown): void;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Wall clock, ms. */
  readonly now: () => number;
  readonly write: (level: LogLevel, line: string) => void;
  /** In every line, e.g. `{ part: "gateway" }`. */
  readonly fields?: Readonly<Record<string, LogField>>;
}

const SECRETS =
  /\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|jdb\.[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+|(?<=bearer[ .])[A-Za-z0-9_.~+/=-]+/gi;
const MAX_STACK_CHARACTERS = 4000;

/** Blanks what looks like a credential. */
export function redact(text: string): string {
  return text.replace(SECRETS, "[redacted]");
}

function describeError(error: unknown, depth = 0): string {
  if (!(error instanceof Error)) return redact(String(error)).slice(0, MAX_STACK_CHARACTERS);
  const own = redact(error.stack ?? `${error.name}: ${error.message}`).slice(0, MAX_STACK_CHARACTERS);
  return error.cause === undefined || depth > 3 ? own : `${own}\ncaused by: ${describeError(error.cause, depth + 1)}`;
}

export function createLogger(options: LoggerOptions): Logger {
  const threshold = LOG_LEVELS.indexOf(options.level);
  const isOn = (level: LogLevel): boolean => LOG_LEVELS.indexOf(level) >= threshold && options.level !== "off";
  const emit = (level: LogLevel, event: string, fields?: Readonly<Record<string, LogField>>, error?: unknown): void => {
    if (!isOn(level)) return;
    const line: Record<string, LogField> = { time: new Date(options.now()).toISOString(), level, event };
    for (const [name, value] of Object.entries({ ...options.fields, ...fields })) {
      line[name] = typeof value === "string" ? redact(value) : value;
    }
    if (error !== undefined) line.error = describeError(error);
    options.write(level, JSON.stringify(line));
  };
  return {
    isOn,
    debug: (event, fields) => emit("debug", event, fields),
    info: (event, fields) => emit("info", event, fields),
    warn: (event, fields, error) => emit("warn", event, fields, error),
    error: (event, fields, error) => emit("error", event, fields, error),
  };
}
