// What is saved of an HNSW index: the arena's own layout, little-endian, in up to six sections.
// Guarantees: a header that is read back lies within the bounds of the kernels, or `MalformedIndex`.

import type { Arena } from "../arena.ts";
import { FORM_BYTES, readForm, refuse, strideOf, type VectorForm, writeForm } from "./form-header.ts";
import { type HnswGraph, MAX_LEVEL } from "./hnsw-graph.ts";
import { MAX_M, MAX_SEGMENT_ROWS, MIN_M } from "./limits.ts";
import { arenaSection, bytesSection } from "./sections.ts";
import type { IndexSection } from "./segment-index.ts";

const MAGIC = 0x3157_4e48; // "HNW1"
const HEADER_BYTES = FORM_BYTES + 32;

/** Names of the sections. Vectors are left out where the graph uses the segment's float32 rows in place. */
export const HNSW_SECTIONS = {
  header: "hnsw",
  vectors: "hnsw-vectors",
  links: "hnsw-links",
  offsets: "hnsw-offsets",
  upper: "hnsw-upper",
  quarantined: "hnsw-quarantined",
} as const;

export interface HnswHeader {
  readonly form: VectorForm;
  readonly rows: number;
  readonly m: number;
  readonly entry: number;
  readonly level: number;
  readonly upperWords: number;
  readonly quarantinedCount: number;
  readonly isBorrowed: boolean;
}

function writeHeader(header: HnswHeader): Uint8Array {
  const { form, rows, m, entry, level, upperWords, quarantinedCount, isBorrowed } = header;
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(writeForm(form));
  const view = new DataView(bytes.buffer, FORM_BYTES);
  const words = [MAGIC, rows, m, entry, level >>> 0, upperWords, quarantinedCount, isBorrowed ? 1 : 0];
  for (const [i, word] of words.entries()) view.setUint32(i * 4, word, true);
  return bytes;
}

/** @throws MalformedIndex */
export function readHeader(bytes: Uint8Array): HnswHeader {
  refuse(bytes.length !== HEADER_BYTES, `a header of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset + FORM_BYTES, 32);
  const word = (index: number): number => view.getUint32(index * 4, true);
  refuse(word(0) !== MAGIC, `the magic number ${word(0).toString(16)}`);
  const [rows, m, entry, level] = [word(1), word(2), word(3), word(4) | 0];
  const [upperWords, quarantinedCount] = [word(5), word(6)];
  refuse(rows > MAX_SEGMENT_ROWS, `${rows} rows`);
  refuse(m < MIN_M || m > MAX_M, `M ${m}`);
  refuse(level < -1 || level > MAX_LEVEL, `top level ${level}`);
  refuse(level >= 0 && entry >= rows, `entry ${entry} of ${rows} rows`);
  refuse(upperWords > rows * (1 + MAX_LEVEL * m), `${upperWords} words of upper links`);
  refuse(quarantinedCount > rows, `${quarantinedCount} quarantined rows`);
  const shape = { rows, m, entry, level, upperWords, quarantinedCount, isBorrowed: word(7) === 1 };
  return { ...shape, form: readForm(bytes) };
}

/** The sections behind the header, with their lengths. */
export function lengthsOf({
  form,
  rows,
  m,
  upperWords,
  quarantinedCount,
  isBorrowed,
}: HnswHeader): readonly [string, number][] {
  const lengths: [string, number][] = [
    [HNSW_SECTIONS.links, rows * m * 8],
    [HNSW_SECTIONS.offsets, rows * 4],
    [HNSW_SECTIONS.upper, upperWords * 4],
    [HNSW_SECTIONS.quarantined, quarantinedCount * 4],
  ];
  if (!isBorrowed) lengths.push([HNSW_SECTIONS.vectors, rows * strideOf(form)]);
  return lengths;
}

/** The sections of an index, in the order in which they are written. */
export function hnswSections(
  arena: Arena,
  { graph, form, quarantined }: { graph: HnswGraph; form: VectorForm; quarantined: readonly number[] },
): readonly IndexSection[] {
  const { shape, parts, isBorrowed, entry } = graph;
  const { rows, m, upperWords } = shape;
  const header: HnswHeader = {
    ...{ form, rows, m, upperWords, isBorrowed },
    ...{ entry: entry.row, level: entry.level, quarantinedCount: quarantined.length },
  };
  const places = new Map<string, number>([
    [HNSW_SECTIONS.vectors, parts.vectors],
    [HNSW_SECTIONS.links, parts.links],
    [HNSW_SECTIONS.offsets, parts.upperAt],
    [HNSW_SECTIONS.upper, parts.upper],
  ]);
  const sections = [bytesSection(HNSW_SECTIONS.header, writeHeader(header))];
  for (const [name, byteLength] of lengthsOf(header)) {
    const at = places.get(name);
    if (at !== undefined) sections.push(arenaSection(arena, { name, at, byteLength }));
    else sections.push(bytesSection(name, new Uint8Array(Uint32Array.from(quarantined).buffer)));
  }
  return sections;
}
