// Reads all keys of a tenant, page by page, from `GET /v1/key-value/export` (newline-delimited JSON).
// Guarantees: values are their exact JSON texts; a page that was cut off is an error, never a short list.
import { JadeError } from "./errors.ts";
import type { HttpClient } from "./http.ts";
import { memberText } from "./raw-json.ts";
import type { ClockMap, ListOptions, Page } from "./types.ts";

export interface ExportedEntry {
  readonly key: string;
  /** The exact JSON text of the value. */
  readonly json: string;
  readonly vectorClock: ClockMap;
}

/** What an export went past for want of intact copies. */
export interface SkippedData {
  /** Where keys may stand that nobody can name. Tokens are hashes of keys, 16 hex digits. */
  readonly ranges: readonly { readonly nodeId: string; readonly fromToken: string; readonly toToken: string }[];
  /** Keys that are known, but not what stands under them. */
  readonly keys: readonly string[];
}

export interface ExportPage extends Page<ExportedEntry> {
  /** Only with `onCorrupt: "skip"`, and where something is left out. */
  readonly skipped?: SkippedData | undefined;
}

export interface ExportOptions extends ListOptions {
  /** Where too few intact copies are left: `fail` (the default) rejects with `dataCorrupt`, `skip` goes on past them. */
  readonly onCorrupt?: "fail" | "skip" | undefined;
}

export interface ExportAllOptions extends ListOptions {
  readonly onSkipped?: ((skipped: SkippedData) => void) | undefined;
}

interface ExportLine {
  readonly key: string;
  readonly valueText?: string;
  readonly vectorClock?: ClockMap;
}

/** The last line is `{"cursor": …}`; without it the page is not whole. */
export function readExportPage(text: string): ExportPage {
  const lines = text.split("\n").filter((line) => line !== "");
  const last = lines.pop();
  const end = last === undefined ? undefined : (JSON.parse(last) as { cursor?: string | null; skipped?: SkippedData });
  if (end?.cursor === undefined) throw new JadeError("badAnswer", "the export was cut off before its last line");
  const items = lines.map((line): ExportedEntry => {
    const { key, valueText, vectorClock } = JSON.parse(line) as ExportLine;
    // A value whose text holds line breaks comes as a string: a line break would end the line.
    const json = valueText ?? memberText(line, "value");
    if (json === undefined) throw new JadeError("badAnswer", `the export has no value for ${JSON.stringify(key)}`);
    return { key, json, vectorClock: vectorClock ?? {} };
  });
  return { items, cursor: end.cursor, ...(end.skipped ? { skipped: end.skipped } : {}) };
}

export async function exportPage(http: HttpClient, options: ExportOptions): Promise<ExportPage> {
  const { limit, cursor, onCorrupt, signal, timeoutMs } = options;
  const query = { limit, cursor, onCorrupt: onCorrupt === "skip" ? onCorrupt : undefined };
  const text = await http.callText({ method: "GET", path: "/v1/key-value/export", query, signal, timeoutMs });
  try {
    return readExportPage(text);
  } catch (cause) {
    if (cause instanceof JadeError) throw cause;
    throw new JadeError("badAnswer", "the export is not newline-delimited JSON", { cause });
  }
}
