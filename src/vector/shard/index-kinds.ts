// Which indexes there are, by name of their kind: how one is built over a segment's rows, and loaded from its saved sections.
import { FlatBuilder } from "../index/flat-builder.ts";
import { FLAT_SECTIONS } from "../index/flat-format.ts";
import { openFlatLoader } from "../index/flat-loader.ts";
import { HnswBuilder, type HnswSeed } from "../index/hnsw-builder.ts";
import { HNSW_SECTIONS } from "../index/hnsw-format.ts";
import { openHnswLoader } from "../index/hnsw-loader.ts";
import type { SavedIndex } from "../index/sections.ts";
import type { Effort, IndexBuilder, IndexKind, IndexLoader, Rows } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { SMALL_SEGMENT_ROWS } from "./limits.ts";

/** An index of a database, resolved: every parameter has its value. */
export interface IndexSpec {
  /** Unique in its database; part of section names. */
  readonly name: string;
  readonly kind: Extract<IndexKind, "FLAT" | "HNSW">;
  readonly quantizer: "int8" | "none";
  /** HNSW: links a row chooses, and candidates while it is inserted. */
  readonly m?: number;
  readonly efConstruction?: number;
  /** What a search that asks for nothing gets. */
  readonly effort: Effort;
}

/** A small segment is scanned: a graph over it costs more than it saves, and it will be merged soon. */
function kindFor(spec: IndexSpec, rowCount: number): IndexSpec["kind"] {
  return rowCount < SMALL_SEGMENT_ROWS ? "FLAT" : spec.kind;
}

export interface RowsOfSegment {
  readonly rows: Rows;
  readonly metric: Metric;
}

export interface BuildFrom extends RowsOfSegment {
  /** A graph whose rows are among these. */
  readonly seed?: HnswSeed;
}

export function builderFor(core: VectorCore, spec: IndexSpec, { rows, metric, seed }: BuildFrom): IndexBuilder {
  const { quantizer, m, efConstruction } = spec;
  if (kindFor(spec, rows.count) === "FLAT") return new FlatBuilder(core, { rows, metric, quantizer });
  const parameters = {
    quantizer,
    ...(m !== undefined && { m }),
    ...(efConstruction !== undefined && { efConstruction }),
  };
  return new HnswBuilder(core, { rows, metric, parameters, seed });
}

/** A saved index says itself what it is, by its first section. @throws MalformedIndex, ArenaFull */
export function loaderFor(
  core: VectorCore,
  saved: SavedIndex & { readonly kind: IndexKind },
  of: RowsOfSegment,
): IndexLoader {
  return saved.kind === "FLAT" ? openFlatLoader(core, saved, of) : openHnswLoader(core, saved, of);
}

/** The first section of each kind. */
export const HEADER_SECTIONS: readonly (readonly [section: string, kind: IndexKind])[] = [
  [FLAT_SECTIONS.header, "FLAT"],
  [HNSW_SECTIONS.header, "HNSW"],
];
