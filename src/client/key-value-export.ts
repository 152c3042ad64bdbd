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

interface ExportLine {
  readonly key: string;
  readonly valueText?: string;
  readonly vectorClock?: ClockMap;
}

/** The last line is `{"cursor": …}`; without it the page is not whole. */
export function readExportPage(text: string): Page<ExportedEntry> {
  const lines = text.split("\n").filter((line) => line !== "");
  const last = lines.pop();
  const end = last === undefined ? undefined : (JSON.parse(last) as { cursor?: string | null });
  if (end?.cursor === undefined) throw new JadeError("badAnswer", "the export was cut off before its last line");
  const items = lines.map((line): ExportedEntry => {
    const { key, valueText, vectorClock } = JSON.parse(line) as ExportLine;
    // A value whose text holds line breaks comes as a string: a line break would end the line.
    const json = valueText ?? memberText(line, "value");
    if (json === undefined) throw new JadeError("badAnswer", `the export has no value for ${JSON.stringify(key)}`);
    return { key, json, vectorClock: vectorClock ?? {} };
  });
  return { items, cursor: end.cursor };
}

export async function exportPage(http: HttpClient, options: ListOptions): Promise<Page<ExportedEntry>> {
  const { limit, cursor, signal, timeoutMs } = options;
  const query = { limit, cursor };
  const text = await http.callText({ method: "GET", path: "/v1/key-value/export", query, signal, timeoutMs });
  try {
    return readExportPage(text);
  } catch (cause) {
    if (cause instanceof JadeError) throw cause;
    throw new JadeError("badAnswer", "the export is not newline-delimited JSON", { cause });
  }
}
