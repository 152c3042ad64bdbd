// Which format a file is, by its extension; how its rows are read and written.
import { UsageError } from "../exit-codes.ts";
import { CSV_HEADER, csvText, readCsv } from "./csv.ts";
import { jsonlText, readJsonl } from "./jsonl.ts";
import { WRITTEN_ROW_GROUP_ROWS } from "./limits.ts";
import { npyHeader, readNpy } from "./npy.ts";
import { ParquetRows, readParquet } from "./parquet.ts";
import type { FileRow, ReadOptions, VectorFile, VectorRow } from "./rows.ts";
import { sidecarText, withNames } from "./sidecar.ts";
import { bvecsBytes, fvecsBytes, readVecs } from "./vecs.ts";

const EXTENSIONS = {
  jsonl: "jsonl",
  ndjson: "jsonl",
  csv: "csv",
  fvecs: "fvecs",
  bvecs: "bvecs",
  npy: "npy",
  parquet: "parquet",
} as const;

export type VectorFormat = (typeof EXTENSIONS)[keyof typeof EXTENSIONS];

/** Formats that hold values only. */
export const BARE_FORMATS: ReadonlySet<VectorFormat> = new Set(["fvecs", "bvecs", "npy"]);

/** @throws UsageError for an extension that is none of the known */
export function formatOf(file: string): VectorFormat {
  const extension = /\.([a-z]+)$/i.exec(file)?.[1]?.toLowerCase() ?? "";
  if (Object.hasOwn(EXTENSIONS, extension)) return EXTENSIONS[extension as keyof typeof EXTENSIONS];
  const known = Object.keys(EXTENSIONS).map((name) => `.${name}`);
  throw new UsageError(`${file}: the format is told by the extension, one of ${known.join(", ")}`);
}

export interface FormatOptions extends ReadOptions {
  /** Ids and metadata of a format that holds none. */
  readonly sidecar?: VectorFile | undefined;
}

export function readRows(
  file: VectorFile,
  format: VectorFormat,
  options: FormatOptions,
): AsyncGenerator<FileRow, void, undefined> {
  switch (format) {
    case "jsonl":
      return readJsonl(file, options);
    case "csv":
      return readCsv(file, options);
    case "parquet":
      return readParquet(file, options);
    case "npy":
      return withNames(file, readNpy(file), options);
    case "fvecs":
    case "bvecs":
      return withNames(file, readVecs(file, format), options);
    default:
      throw new Error(format satisfies never);
  }
}

/** Bytes of a file that is written from its start to its end, and of its sidecar. */
export interface RowWriter {
  /** Rows that fit one call. */
  readonly batchRows: number;
  /** The file's first bytes. */
  start(): Uint8Array;
  rows(batch: readonly VectorRow[]): Uint8Array;
  sidecar(batch: readonly VectorRow[]): Uint8Array | undefined;
  /** What follows the last row. */
  end(): Uint8Array;
  /** What takes the place of the first bytes once all rows are there. */
  head(rowCount: number): Uint8Array | undefined;
}

const NONE = new Uint8Array(0);
const encoder = new TextEncoder();

function together(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

const text = (of: (row: VectorRow) => string) => (batch: readonly VectorRow[]) =>
  encoder.encode(batch.map(of).join(""));
const bare = (of: (row: VectorRow) => Uint8Array) => (batch: readonly VectorRow[]) => together(batch.map(of));
const floatBytes = (row: VectorRow): Uint8Array => fvecsBytes(row).subarray(4);

export function rowWriter(format: VectorFormat, dimension: number): RowWriter {
  const none = () => NONE;
  const common = {
    batchRows: WRITTEN_ROW_GROUP_ROWS,
    start: none,
    end: none,
    sidecar: () => undefined,
    head: () => undefined,
  };
  const withSidecar = { ...common, sidecar: text(sidecarText) };
  switch (format) {
    case "jsonl":
      return { ...common, rows: text(jsonlText) };
    case "csv":
      return { ...common, start: () => encoder.encode(CSV_HEADER), rows: text(csvText) };
    case "fvecs":
      return { ...withSidecar, rows: bare(fvecsBytes) };
    case "bvecs":
      return { ...withSidecar, rows: bare(bvecsBytes) };
    case "npy": {
      const head = (rowCount: number) => npyHeader(rowCount, dimension);
      return { ...withSidecar, start: () => head(0), rows: bare(floatBytes), head };
    }
    case "parquet": {
      const parquet = new ParquetRows();
      return { ...common, rows: (batch) => parquet.rowGroup(batch), end: () => parquet.end() };
    }
    default:
      throw new Error(format satisfies never);
  }
}
