// Vectors as newline-delimited JSON: {"id": …, "values": […], "metadata": {…}} a line.
// Guarantees: metadata passes as its exact text. Memory is bounded by the longest line.
import { memberText } from "../../client/raw-json.ts";
import type { UsageError } from "../exit-codes.ts";
import {
  checkedRow,
  type FileRow,
  floatsOf,
  isObject,
  malformed,
  metadataText,
  type ReadOptions,
  textInPlace,
  type VectorFile,
  type VectorRow,
  valuesText,
} from "./rows.ts";
import { textLines } from "./text-lines.ts";

/** Every row of the file. @throws UsageError that names file, line and what is wrong */
export async function* readJsonl(file: VectorFile, options: ReadOptions): AsyncGenerator<FileRow, void, undefined> {
  let number = 0;
  for await (const { text, lineNumber, doneBytes } of textLines(file)) {
    if (text.trim() === "") continue;
    const place = `line ${lineNumber}`;
    const row = rowOf(file, place, { text, options, index: number });
    yield checkedRow(file, { ...row, number: ++number, place, doneBytes });
  }
}

interface LineInput {
  readonly text: string;
  readonly options: ReadOptions;
  readonly index: number;
}

function rowOf(file: VectorFile, place: string, { text, options, index }: LineInput): VectorRow {
  const refuse = (what: string): UsageError => malformed(file, place, what);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw refuse(`not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  if (!isObject(json)) throw refuse("must be a JSON object");
  const { idColumn = "id", valuesColumn = "values", idPrefix } = options;
  const id = idPrefix === undefined ? json[idColumn] : `${idPrefix}${index}`;
  if (typeof id !== "string" && typeof id !== "number")
    throw refuse(`has no "${idColumn}" that is a string; --id-column names another, --id-prefix makes ids`);
  const { textColumn } = options;
  if (textColumn !== undefined) {
    const made = textInPlace(json[textColumn], (what) => refuse(`"${textColumn}" ${what}`));
    return { id: String(id), ...made, metadata: metadataOf(json, text, { ...options, refuse }) };
  }
  if (json[valuesColumn] === undefined) throw refuse(`has no "${valuesColumn}"; --values-column names another`);
  const values = floatsOf(json[valuesColumn], refuse);
  return { id: String(id), values, metadata: metadataOf(json, text, { ...options, refuse }) };
}

function metadataOf(
  json: Readonly<Record<string, unknown>>,
  text: string,
  options: ReadOptions & { readonly refuse: (what: string) => Error },
): string | undefined {
  const { idColumn = "id", valuesColumn = "values", metadataColumns, refuse } = options;
  if (metadataColumns) return metadataText(Object.fromEntries(metadataColumns.map((name) => [name, json[name]])));
  if (json["metadata"] === undefined || json["metadata"] === null) {
    const others = Object.entries(json).filter(([name]) => ![idColumn, valuesColumn, "metadata"].includes(name));
    return metadataText(Object.fromEntries(others));
  }
  if (!isObject(json["metadata"])) throw refuse("metadata must be a JSON object");
  return lastMemberText(text, json["metadata"]);
}

/** The exact text; where it is not to be found (a member given twice, a name in escapes), the same value written anew. */
function lastMemberText(text: string, value: object): string {
  const exact = memberText(text, "metadata");
  const again = JSON.stringify(value);
  return exact !== undefined && JSON.stringify(JSON.parse(exact)) === again ? exact : again;
}

export function jsonlText({ id, values, metadata }: VectorRow): string {
  const members = `{"id":${JSON.stringify(id)},"values":${valuesText(values)}`;
  return metadata === undefined ? `${members}}\n` : `${members},"metadata":${metadata}}\n`;
}
