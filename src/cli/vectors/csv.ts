// Vectors as CSV with a header: an id, values as one JSON list or as columns v0, v1, …, and metadata.
// Guarantees: what was written is read back exactly. A cell of a metadata column that reads as a JSON number, list, object, true or
// false is that; an empty one is no field; every other is a string.
import { csvCell, csvRecords } from "./csv-records.ts";
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

/** Which cells of a record mean what. */
interface Columns {
  readonly count: number;
  /** Undefined = ids are made. */
  readonly id: number | undefined;
  /** One cell with a list, or a cell a number. */
  readonly values: number | readonly number[];
  /** In place of values. */
  readonly text: number | undefined;
  /** One cell with an object, or a cell a field. */
  readonly metadata: number | readonly (readonly [name: string, at: number])[];
}

function valueColumns(names: readonly string[]): number[] {
  const places: number[] = [];
  for (let at = names.indexOf("v0"); at >= 0; at = names.indexOf(`v${places.length}`)) places.push(at);
  return places;
}

function columnsOf(file: VectorFile, names: readonly string[], options: ReadOptions): Columns {
  const refuse = (what: string) =>
    malformed(file, "line 1", `${what}; the columns are ${names.slice(0, 20).join(", ")}`);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw refuse(`the column ${JSON.stringify(twice)} is there twice`);
  const placeOf = (name: string, flag: string): number => {
    const at = names.indexOf(name);
    if (at < 0) throw refuse(`has no column ${JSON.stringify(name)}; ${flag} names another`);
    return at;
  };
  const { idColumn, valuesColumn, metadataColumns, idPrefix, textColumn } = options;
  const id = idPrefix === undefined ? placeOf(idColumn ?? "id", "--id-column") : undefined;
  const text = textColumn === undefined ? undefined : placeOf(textColumn, "--text-column");
  const single = text === undefined ? valueColumns(names) : [];
  const isNamed = valuesColumn !== undefined || names.includes("values") || single.length === 0;
  const isSingle = text !== undefined || !isNamed;
  const values = isSingle ? single : placeOf(valuesColumn ?? "values", "--values-column");
  const used = new Set([names.indexOf(idColumn ?? "id"), ...(isSingle ? single : [values as number])]);
  const count = names.length;
  if (metadataColumns) {
    const named = metadataColumns.map((name) => [name, placeOf(name, "--metadata-columns")] as const);
    return { count, id, values, text, metadata: named };
  }
  if (names.includes("metadata")) return { count, id, values, text, metadata: names.indexOf("metadata") };
  const others = names.map((name, at) => [name, at] as const).filter(([, at]) => !used.has(at));
  return { count, id, values, text, metadata: others };
}

const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

function cellValue(text: string): unknown {
  if (text === "") return undefined;
  if (!JSON_NUMBER.test(text) && text !== "true" && text !== "false" && !/^[[{]/.test(text)) return text;
  try {
    const value: unknown = JSON.parse(text);
    // A number that is not this text again (1.0, 2^53+1) would be changed: it stays a string.
    return typeof value === "number" && String(value) !== text ? text : value;
  } catch {
    return text;
  }
}

function listOf(text: string, refuse: (what: string) => Error): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refuse(`values must be a JSON list of numbers, not ${JSON.stringify(text.slice(0, 60))}`);
  }
}

function valuesOf(columns: Columns, cells: readonly string[], refuse: (what: string) => Error): Float32Array {
  if (typeof columns.values === "number") return floatsOf(listOf(cells[columns.values]!, refuse), refuse);
  const numbers = columns.values.map((at, index) => {
    const text = cells[at]!.trim();
    const number = text === "" ? Number.NaN : Number(text);
    if (Number.isNaN(number))
      throw refuse(`column v${index} must be a number, not ${JSON.stringify(text.slice(0, 60))}`);
    return number;
  });
  return floatsOf(numbers, refuse);
}

function vectorOf(columns: Columns, cells: readonly string[], refuse: (what: string) => Error) {
  const { text } = columns;
  return text === undefined ? { values: valuesOf(columns, cells, refuse) } : textInPlace(cells[text], refuse);
}

function metadataOf({ metadata }: Columns, cells: readonly string[], refuse: (what: string) => Error) {
  if (typeof metadata !== "number")
    return metadataText(Object.fromEntries(metadata.map(([name, at]) => [name, cellValue(cells[at]!)])));
  const text = cells[metadata]!;
  if (text.trim() === "") return undefined;
  try {
    if (isObject(JSON.parse(text))) return text.trim();
  } catch {
    // Told below, as JSON that is no object.
  }
  throw refuse(`metadata must be a JSON object, not ${JSON.stringify(text.slice(0, 60))}`);
}

/** Every row of the file. @throws UsageError that names file, line and what is wrong */
export async function* readCsv(file: VectorFile, options: ReadOptions): AsyncGenerator<FileRow, void, undefined> {
  let columns: Columns | undefined;
  let number = 0;
  for await (const { cells, lineNumber, doneBytes } of csvRecords(file)) {
    if (!columns) {
      const [first = "", ...others] = cells;
      columns = columnsOf(file, [first.replace(/^\uFEFF/, ""), ...others], options);
      continue;
    }
    const place = `line ${lineNumber}`;
    const refuse = (what: string) => malformed(file, place, what);
    if (cells.length !== columns.count) throw refuse(`has ${cells.length} cells; the header has ${columns.count}`);
    const id = columns.id === undefined ? `${options.idPrefix}${number}` : cells[columns.id]!;
    const made = vectorOf(columns, cells, refuse);
    const metadata = metadataOf(columns, cells, refuse);
    yield checkedRow(file, { id, ...made, metadata, number: ++number, place, doneBytes });
  }
  if (!columns) throw malformed(file, "", "is empty: a CSV file begins with the names of its columns");
}

export const CSV_HEADER = "id,values,metadata\n";

export function csvText({ id, values, metadata }: VectorRow): string {
  return `${csvCell(id)},${csvCell(valuesText(values))},${metadata === undefined ? "" : csvCell(metadata)}\n`;
}
