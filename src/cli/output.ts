// Results as a table for people, or as JSON or YAML for programs. Results go to stdout, everything else to stderr.
import Table from "cli-table3";
import { dump } from "js-yaml";

export const OUTPUT_FORMATS = ["table", "json", "yaml"] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];
export type Fields = Readonly<Record<string, unknown>>;

function cell(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function recordTable(record: Fields): string {
  const table = new Table({ style: { head: [], border: [], compact: true } });
  for (const [name, value] of Object.entries(record)) table.push({ [name]: cell(value) });
  return table.toString();
}

function listTable(records: readonly Fields[]): string {
  const columns = [...new Set(records.flatMap((record) => Object.keys(record)))];
  const table = new Table({ head: columns, style: { head: [], border: [], compact: true } });
  for (const record of records) table.push(columns.map((column) => cell(record[column])));
  return table.toString();
}

/** The text of one record or a list, without a line end. */
export function formatted(result: object | readonly object[], format: OutputFormat): string {
  if (format === "json") return JSON.stringify(result, null, 2);
  if (format === "yaml") return dump(JSON.parse(JSON.stringify(result)), { lineWidth: -1, noRefs: true }).trimEnd();
  if (!Array.isArray(result)) return recordTable(result as Fields);
  return result.length === 0 ? "(none)" : listTable(result as readonly Fields[]);
}
