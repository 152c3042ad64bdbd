// Vectors as Parquet: an id column, a list column of numbers, and metadata columns.
// Guarantees: memory is bounded by a row group, whose size is bounded; a file that cannot be read is an error that names the row group
// or row. Must not: trust sizes that the file states.
import zlib from "node:zlib";
import {
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  snappyUncompress,
} from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { MAX_PAGE_BYTES, MAX_PARQUET_FOOTER_BYTES, MAX_ROW_GROUP_BYTES } from "./limits.ts";
import {
  checkedRow,
  type FileRow,
  floatsOf,
  isObject,
  malformed,
  metadataText,
  type ReadOptions,
  type VectorFile,
  type VectorRow,
} from "./rows.ts";

/** No page is unpacked beyond what its header says, nor beyond the bound. */
function bounded(unpack: (input: Uint8Array, maxOutputLength: number) => Uint8Array) {
  return (input: Uint8Array, outputLength: number): Uint8Array => {
    if (outputLength > MAX_PAGE_BYTES)
      throw new Error(`a page has ${outputLength} bytes; at most ${MAX_PAGE_BYTES} are read`);
    return outputLength === 0 ? new Uint8Array(0) : unpack(input, outputLength);
  };
}

/** Node has zstd from 22.15 on. */
const zstd = (zlib as { zstdDecompressSync?: typeof zlib.gunzipSync }).zstdDecompressSync;
const COMPRESSORS: Compressors = {
  SNAPPY: bounded((input, length) => {
    const output = new Uint8Array(length);
    snappyUncompress(input, output);
    return output;
  }),
  GZIP: bounded((input, maxOutputLength) => zlib.gunzipSync(input, { maxOutputLength })),
  BROTLI: bounded((input, maxOutputLength) => zlib.brotliDecompressSync(input, { maxOutputLength })),
  ...(zstd ? { ZSTD: bounded((input, maxOutputLength) => zstd(input, { maxOutputLength })) } : {}),
};

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function metadataOfFile(file: VectorFile): Promise<FileMetaData> {
  if (file.byteCount < 12) throw malformed(file, "", `is no Parquet file: it has ${file.byteCount} bytes`);
  const tail = new DataView(await file.slice(file.byteCount - 8, file.byteCount));
  const footerBytes = tail.getUint32(0, true);
  if (tail.getUint32(4, true) !== 0x31524150)
    throw malformed(file, "", "is no Parquet file: it does not end with PAR1");
  if (footerBytes > Math.min(MAX_PARQUET_FOOTER_BYTES, file.byteCount - 12))
    throw malformed(file, "footer", `states ${footerBytes} bytes, of a file of ${file.byteCount}`);
  try {
    return await parquetMetadataAsync({
      byteLength: file.byteCount,
      slice: (start, end) => file.slice(start, end ?? file.byteCount),
    });
  } catch (error) {
    throw malformed(file, "footer", `cannot be read (${reasonOf(error)})`);
  }
}

interface Columns {
  readonly id: string | undefined;
  readonly values: string;
  /** One column of objects, or a column a field. */
  readonly metadata: string | readonly string[];
}

function columnsOf(file: VectorFile, names: readonly string[], options: ReadOptions): Columns {
  const known = (name: string, flag: string): string => {
    if (names.includes(name)) return name;
    const message = `has no column ${JSON.stringify(name)}; ${flag} names another; the columns are ${names.slice(0, 20).join(", ")}`;
    throw malformed(file, "", message);
  };
  const { idColumn = "id", valuesColumn = "values", metadataColumns, idPrefix } = options;
  const id = idPrefix === undefined ? known(idColumn, "--id-column") : undefined;
  const values = known(valuesColumn, "--values-column");
  if (metadataColumns)
    return { id, values, metadata: metadataColumns.map((name) => known(name, "--metadata-columns")) };
  if (names.includes("metadata")) return { id, values, metadata: "metadata" };
  return { id, values, metadata: names.filter((name) => name !== idColumn && name !== values) };
}

/** Names of the columns at the top: behind the root each element with all below it. */
function topColumns({ schema }: FileMetaData): string[] {
  const names: string[] = [];
  let [below, at] = [0, 1];
  for (; at < schema.length; at++) {
    const element = schema[at]!;
    if (below === 0) names.push(element.name);
    else below--;
    below += element.num_children ?? 0;
  }
  return names;
}

/** What Parquet has and JSON has not. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return value.toISOString();
  if (value === null) return undefined;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value) || ArrayBuffer.isView(value))
    return Array.from(value as ArrayLike<unknown>, (item) => plain(item) ?? null);
  if (isObject(value)) return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]));
  return value;
}

function metadataOf(
  row: Readonly<Record<string, unknown>>,
  metadata: Columns["metadata"],
  refuse: (what: string) => Error,
) {
  if (typeof metadata !== "string")
    return metadataText(Object.fromEntries(metadata.map((name) => [name, plain(row[name])])));
  const value = row[metadata];
  if (value === null || value === undefined || value === "") return undefined;
  if (typeof value !== "string" && isObject(value)) return metadataText(plain(value) as Record<string, unknown>);
  try {
    if (typeof value === "string" && isObject(JSON.parse(value))) return value.trim();
  } catch {
    // Told below, as JSON that is no object.
  }
  throw refuse(`metadata must be a JSON object, not ${(JSON.stringify(plain(value)) ?? "").slice(0, 60)}`);
}

/** Every row of the file. @throws UsageError that names file, row and what is wrong */
export async function* readParquet(file: VectorFile, options: ReadOptions): AsyncGenerator<FileRow, void, undefined> {
  const metadata = await metadataOfFile(file);
  const columns = columnsOf(file, topColumns(metadata), options);
  const wanted = [columns.id, columns.values, ...[columns.metadata].flat()].filter((name) => name !== undefined);
  let number = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    const rowCount = Number(group.num_rows);
    const rows = await readGroup(file, { metadata, columns: wanted, index, rowStart: number, rowCount });
    for (const row of rows) {
      const place = `row ${number + 1}`;
      const refuse = (what: string) => malformed(file, place, what);
      const id = columns.id === undefined ? `${options.idPrefix}${number}` : plain(row[columns.id]);
      if (typeof id !== "string" && typeof id !== "number") throw refuse("has no id");
      const list: unknown = row[columns.values];
      const numbers = Array.isArray(list)
        ? list.map((value) => (typeof value === "bigint" ? Number(value) : value))
        : list;
      const values = floatsOf(numbers, refuse);
      const own = metadataOf(row, columns.metadata, refuse);
      const doneBytes = Math.floor((file.byteCount * (number + 1)) / Math.max(1, Number(metadata.num_rows)));
      yield checkedRow(file, { id: String(id), values, metadata: own, number: ++number, place, doneBytes });
    }
  }
}

interface GroupAsk {
  readonly metadata: FileMetaData;
  readonly columns: string[];
  readonly index: number;
  readonly rowStart: number;
  readonly rowCount: number;
}

async function readGroup(file: VectorFile, ask: GroupAsk): Promise<Record<string, unknown>[]> {
  const { metadata, columns, index, rowStart, rowCount } = ask;
  const place = `row group ${index + 1}`;
  const group = metadata.row_groups[index]!;
  const unpacked = group.columns.reduce(
    (sum, { meta_data }) => sum + Number(meta_data?.total_uncompressed_size ?? 0),
    0,
  );
  if (!(unpacked <= MAX_ROW_GROUP_BYTES) || !(rowCount >= 0 && rowCount <= MAX_ROW_GROUP_BYTES))
    throw malformed(
      file,
      place,
      `is ${unpacked} bytes unpacked; at most ${MAX_ROW_GROUP_BYTES} are read: write smaller row groups`,
    );
  const buffer = {
    byteLength: file.byteCount,
    slice: (start: number, end?: number) => file.slice(start, end ?? file.byteCount),
  };
  let rows: Record<string, unknown>[];
  try {
    const range = { rowStart, rowEnd: rowStart + rowCount };
    rows = await parquetReadObjects({ file: buffer, metadata, columns, compressors: COMPRESSORS, ...range });
  } catch (error) {
    throw malformed(file, place, `cannot be read (${reasonOf(error)})`);
  }
  if (rows.length !== rowCount) throw malformed(file, place, `has ${rows.length} rows; its header says ${rowCount}`);
  return rows;
}

const SCHEMA = [
  { name: "schema", num_children: 3 },
  { name: "id", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
  { name: "values", converted_type: "LIST", repetition_type: "REQUIRED", num_children: 1 },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", type: "FLOAT", repetition_type: "REQUIRED" },
  { name: "metadata", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
] as const;

/** Rows as a Parquet file: a row group for each call, then what describes them all. */
export class ParquetRows {
  readonly #bytes = new ByteWriter();
  readonly #writer = new ParquetWriter({
    writer: this.#bytes,
    schema: [...SCHEMA],
    statistics: false,
    createdBy: "jade-db",
  });

  /** The bytes that follow those of the call before. */
  rowGroup(rows: readonly VectorRow[]): Uint8Array {
    void this.#writer.write({
      columnData: [
        { name: "id", data: rows.map(({ id }) => id) },
        // Numbers of vectors do not repeat: a dictionary would only cost time.
        {
          name: "values",
          data: rows.map(({ values }) => Array.from(values)),
          encoding: "PLAIN",
          codec: "UNCOMPRESSED",
        },
        { name: "metadata", data: rows.map(({ metadata }) => metadata ?? null) },
      ],
      rowGroupSize: Math.max(1, rows.length),
    });
    return this.#taken();
  }

  end(): Uint8Array {
    void this.#writer.finish();
    return this.#taken();
  }

  #taken(): Uint8Array {
    const bytes = this.#bytes.getBytes().slice();
    this.#bytes.index = 0;
    return bytes;
  }
}
