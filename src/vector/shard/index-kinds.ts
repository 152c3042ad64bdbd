// Which indexes there are, by name of their kind: how one is built over a segment's rows, and loaded from its saved sections.
import { CellBuilder } from "../index/cell-builder.ts";
import { CELL_SECTIONS } from "../index/cell-format.ts";
import { openCellLoader } from "../index/cell-loader.ts";
import { FlatBuilder } from "../index/flat-builder.ts";
import { FLAT_SECTIONS } from "../index/flat-format.ts";
import { openFlatLoader } from "../index/flat-loader.ts";
import { HnswBuilder } from "../index/hnsw-builder.ts";
import { HNSW_SECTIONS } from "../index/hnsw-format.ts";
import { openHnswLoader } from "../index/hnsw-loader.ts";
import type { SavedIndex } from "../index/sections.ts";
import type { Effort, IndexBuilder, IndexKind, IndexLoader, Rows } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { SMALL_SEGMENT_ROWS } from "./limits.ts";

export type Quantizer = "none" | "int8" | "rabitq" | "pq";

/** An index of a database, resolved: every parameter has its value. */
export interface IndexSpec {
  /** Unique in its database; part of section names. */
  readonly name: string;
  readonly kind: Extract<IndexKind, "FLAT" | "HNSW" | "IVF">;
  /** HNSW walks float32 rows or int8 codes; IVF reads lists of 1-bit or product codes. FLAT scans any. */
  readonly quantizer: Quantizer;
  /** HNSW: links a row chooses, and candidates while it is inserted. */
  readonly m?: number;
  readonly efConstruction?: number;
  /** IVF: lists; absent = by the number of rows. */
  readonly cells?: number;
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

export function builderFor(core: VectorCore, spec: IndexSpec, { rows, metric }: RowsOfSegment): IndexBuilder {
  const { quantizer, m, efConstruction, cells } = spec;
  const kind = kindFor(spec, rows.count);
  if (quantizer === "rabitq" || quantizer === "pq") {
    if (kind === "HNSW") throw new RangeError(`the quantizer ${quantizer} for HNSW, which walks none or int8`);
    return new CellBuilder(core, {
      rows,
      metric,
      kind,
      quantizer,
      ...(kind === "IVF" && cells !== undefined && { cells }),
    });
  }
  if (kind === "FLAT") return new FlatBuilder(core, { rows, metric, quantizer });
  if (kind === "IVF") throw new RangeError(`the quantizer ${quantizer} for IVF, which reads rabitq or pq`);
  const parameters = {
    quantizer,
    ...(m !== undefined && { m }),
    ...(efConstruction !== undefined && { efConstruction }),
  };
  return new HnswBuilder(core, { rows, metric, parameters });
}

/** A saved index says itself what it is, by its first section. @throws MalformedIndex, ArenaFull */
export function loaderFor(
  core: VectorCore,
  saved: SavedIndex & { readonly kind: IndexKind },
  of: RowsOfSegment,
): IndexLoader {
  if (saved.kind === "FLAT") return openFlatLoader(core, saved, of);
  return saved.kind === "IVF" ? openCellLoader(core, saved, of) : openHnswLoader(core, saved, of);
}

/** The first section of each kind. Coded blocks are FLAT or IVF: their own header tells. */
export const HEADER_SECTIONS: readonly (readonly [section: string, kind: IndexKind])[] = [
  [CELL_SECTIONS.header, "IVF"],
  [FLAT_SECTIONS.header, "FLAT"],
  [HNSW_SECTIONS.header, "HNSW"],
];
