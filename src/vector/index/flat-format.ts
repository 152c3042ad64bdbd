// What is saved of a FLAT index over codes, and how it is taken back: header, codes, quarantined rows.
// Guarantees: as hnsw-loader.ts. An index over float32 rows saves nothing: the segment has them.

import type { Arena, Pointer } from "../arena.ts";
import type { Metric } from "../metric.ts";
import {
  dimensionOf,
  FORM_BYTES,
  metricOf,
  readForm,
  refuse,
  strideOf,
  type VectorForm,
  writeForm,
} from "./form-header.ts";
import { arenaSection, bytesSection } from "./sections.ts";
import type { IndexSection, Rows } from "./segment-index.ts";

const MAGIC = 0x3154_4c46; // "FLT1"
export const FLAT_SECTIONS = { header: "flat", codes: "flat-codes", quarantined: "flat-quarantined" } as const;

export interface FlatHeader {
  readonly form: VectorForm & { readonly quantizer: "int8" };
  readonly rows: number;
  readonly quarantinedCount: number;
}

export function flatSections(
  arena: Arena,
  {
    form,
    rows,
    codes,
    quarantined,
  }: {
    form: FlatHeader["form"];
    rows: number;
    codes: Pointer;
    quarantined: readonly number[];
  },
): readonly IndexSection[] {
  const bytes = new Uint8Array(FORM_BYTES + 16);
  bytes.set(writeForm(form));
  const view = new DataView(bytes.buffer, FORM_BYTES);
  for (const [i, word] of [MAGIC, rows, quarantined.length].entries()) view.setUint32(i * 4, word, true);
  return [
    bytesSection(FLAT_SECTIONS.header, bytes),
    arenaSection(arena, { name: FLAT_SECTIONS.codes, at: codes, byteLength: rows * strideOf(form) }),
    bytesSection(FLAT_SECTIONS.quarantined, new Uint8Array(Uint32Array.from(quarantined).buffer)),
  ];
}

/** @throws MalformedIndex */
export function readFlatHeader(
  bytes: Uint8Array,
  { rows, metric }: { readonly rows: Rows; readonly metric: Metric },
): FlatHeader {
  refuse(bytes.length !== FORM_BYTES + 16, `a header of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset + FORM_BYTES, 16);
  const [magic, count, quarantinedCount] = [0, 4, 8].map((at) => view.getUint32(at, true)) as [number, number, number];
  refuse(magic !== MAGIC, `the magic number ${magic.toString(16)}`);
  const form = readForm(bytes);
  if (form.quantizer !== "int8") return refuse(true, "no codes") as never;
  refuse(count !== rows.count, `${count} rows in a segment of ${rows.count}`);
  refuse(dimensionOf(form) !== rows.dimension, `dimension ${dimensionOf(form)} for rows of ${rows.dimension}`);
  refuse(metricOf(form) !== metric, `the metric ${metricOf(form)} in a database of ${metric}`);
  refuse(quarantinedCount > count, `${quarantinedCount} quarantined rows`);
  return { form, rows: count, quarantinedCount };
}
