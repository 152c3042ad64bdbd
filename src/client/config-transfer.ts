// Pages of `GET /v1/config/export` and what `POST /v1/config/import` takes and answers.
// Guarantees: a page that was cut off is an error, never a short list; lines pass as they are. Must not: decode values.
import { encodingOf, keyText } from "./config-codec.ts";
import type { ConfigKey, ConfigWriteOptions } from "./config-types.ts";
import { JadeError } from "./errors.ts";
import type { ListOptions } from "./types.ts";

export const NDJSON_TYPE = "application/x-ndjson";

export interface ConfigExportOptions extends ListOptions {
  /** Only keys that begin with this. */
  readonly prefix?: ConfigKey | undefined;
}

export interface ConfigExportPage {
  /** One JSON object a key, as text: values stand there byte for byte. */
  readonly lines: readonly string[];
  /** Null = this was the last page. */
  readonly cursor: string | null;
  /** Of the state that all pages show. */
  readonly revision: number;
}

export interface ConfigImportOptions extends ConfigWriteOptions {
  /** What happens to a key that exists: `overwrite` (the default), `skip`, or `fail` with `preconditionFailed`. */
  readonly onExisting?: "overwrite" | "skip" | "fail" | undefined;
}

export interface ConfigImportResult {
  readonly lines: number;
  readonly created: number;
  readonly overwritten: number;
  readonly skipped: number;
  /** Keys written without their lease, because there is no such lease. */
  readonly leasesDropped: number;
  readonly revision: number;
}

export function exportQuery({ prefix, limit, cursor }: ConfigExportOptions) {
  const keyEncoding = encodingOf([prefix]);
  return { limit, cursor, keyEncoding, prefix: prefix === undefined ? undefined : keyText(prefix, keyEncoding) };
}

/** The last line is `{"cursor": …, "revision": …}`; without it the page is not whole. */
export function readExportPage(text: string): ConfigExportPage {
  const lines = text.split("\n").filter((line) => line !== "");
  let end: { readonly cursor?: unknown; readonly revision?: unknown } = {};
  try {
    end = JSON.parse(lines.pop() ?? "{}") as typeof end;
  } catch {
    // A line that was cut is no JSON: told below, as when there is none.
  }
  const { cursor, revision } = end;
  if ((cursor !== null && typeof cursor !== "string") || typeof revision !== "number")
    throw new JadeError("badAnswer", "the export was cut off before its last line");
  return { lines, cursor, revision };
}
