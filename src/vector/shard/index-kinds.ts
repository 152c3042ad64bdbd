// Which indexes there are, by name of their kind: how one is built over a segment's rows, and loaded from its saved sections.
import { BucketedBuilder, bucketedLoader, splitHeader } from "../index/bucketed-index.ts";
import { CellBuilder } from "../index/cell-builder.ts";
import { CELL_HEADER_BYTES, CELL_SECTIONS, readCellHeader } from "../index/cell-format.ts";
import { openCellLoader } from "../index/cell-loader.ts";
import { FlatBuilder } from "../index/flat-builder.ts";
import { FLAT_SECTIONS } from "../index/flat-format.ts";
import { openFlatLoader } from "../index/flat-loader.ts";
import { HnswBuilder, type HnswSeed } from "../index/hnsw-builder.ts";
import { HNSW_SECTIONS } from "../index/hnsw-format.ts";
import { openHnswLoader } from "../index/hnsw-loader.ts";
import { LshBuilder } from "../index/lsh-builder.ts";
import { openLshLoader } from "../index/lsh-loader.ts";
import { LSH_HEADER_BYTES, LSH_SECTIONS } from "../index/lsh-tables.ts";
import type { SavedIndex } from "../index/sections.ts";
import {
  type Effort,
  type IndexBuilder,
  type IndexKind,
  type IndexLoader,
  MalformedIndex,
  type Rows,
  type SegmentIndex,
} from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { ReducedBuilder, type ReducedSpec } from "../reduce/reduced-builder.ts";
import { type Fineness, Projection, reducedLoader, reducedRows } from "../reduce/reduced-index.ts";
import { readReduction } from "../reduce/reduction.ts";
import { SMALL_SEGMENT_ROWS } from "./limits.ts";

export type Quantizer = "none" | "int8" | "rabitq" | "pq";
export const QUANTIZERS: readonly Quantizer[] = ["int8", "none", "rabitq", "pq"];

/** An index of a database, resolved: every parameter has its value. */
export interface IndexSpec {
  /** Unique in its database. */
  readonly name: string;
  /** Another number = other parameters or asked for anew: segments get it built again. Absent = 0. Never given twice under a name. */
  readonly build?: number;
  readonly kind: IndexKind;
  /** HNSW walks float32 rows or int8 codes; the others compare any. */
  readonly quantizer: Quantizer;
  /** HNSW: links a row chooses, and candidates while it is inserted. */
  readonly m?: number;
  readonly efConstruction?: number;
  /** IVF: lists; absent = by the number of rows. */
  readonly cells?: number;
  /** LSH: hash tables, and projections of a key. */
  readonly tables?: number;
  readonly bits?: number;
  /** It holds rows of fewer values; small segments, and FLAT without a quantizer, whole ones. */
  readonly reduction?: ReducedSpec | undefined;
  /** Of rotations, first centroids and planes. */
  readonly randomSeed?: number;
  /** What a search that asks for nothing gets. */
  readonly effort: Effort;
}

export interface RowsOfSegment {
  readonly rows: Rows;
  readonly metric: Metric;
}

/** The name of one build of an index in a segment: part of section names. */
export function keyOf({ name, build = 0 }: Pick<IndexSpec, "name" | "build">): string {
  return build === 0 ? name : `${name}~${build}`;
}

/** What is built of it are the float32 rows themselves, so that nothing is saved and opening a segment makes it again. */
export function isUnsaved({ kind, quantizer }: IndexSpec, rowCount: number): boolean {
  return quantizer === "none" && (kind === "FLAT" || rowCount < SMALL_SEGMENT_ROWS);
}

function seedOf({ randomSeed: seed }: IndexSpec) {
  return seed === undefined ? {} : { seed };
}

/** A scan of all rows by this quantizer. */
function scanBuilder(core: VectorCore, spec: IndexSpec, of: RowsOfSegment): IndexBuilder {
  const { quantizer } = spec;
  if (quantizer === "rabitq" || quantizer === "pq")
    return new CellBuilder(core, { ...of, ...seedOf(spec), kind: "FLAT", quantizer });
  return new FlatBuilder(core, { ...of, quantizer });
}

export interface BuildFrom extends RowsOfSegment {
  /** A graph whose rows are among these. */
  readonly seed?: HnswSeed;
}

/** A small segment is scanned: a graph over it costs more than it saves, and it will be merged soon. */
export function builderFor(core: VectorCore, spec: IndexSpec, from: BuildFrom): IndexBuilder {
  const isSmall = from.rows.count < SMALL_SEGMENT_ROWS;
  if (isSmall) return kindBuilder(core, { ...spec, kind: "FLAT" }, from);
  return spec.reduction
    ? reducedBuilder(core, { ...spec, reduction: spec.reduction }, from)
    : kindBuilder(core, spec, from);
}

const finenessOf = (quantizer: Quantizer): Fineness =>
  quantizer === "rabitq" || quantizer === "pq" ? "coarse" : "fine";

/** However few the rows are. */
export function reducedBuilder(
  core: VectorCore,
  spec: IndexSpec & { readonly reduction: ReducedSpec },
  { rows, metric, seed }: BuildFrom,
): ReducedBuilder {
  return new ReducedBuilder(core, {
    ...{ rows, metric, spec: spec.reduction, fineness: finenessOf(spec.quantizer), seed: spec.randomSeed },
    inner: (reduced) => kindBuilder(core, spec, { rows: reduced, metric, ...(seed && { seed }) }),
  });
}

/** A builder of the kind asked for, however few the rows are. */
export function kindBuilder(core: VectorCore, spec: IndexSpec, { seed, ...of }: BuildFrom): IndexBuilder {
  const { quantizer, kind } = spec;
  switch (kind) {
    case "FLAT":
      return scanBuilder(core, spec, of);
    case "IVF": {
      const cells = { ...seedOf(spec), ...(spec.cells !== undefined && { cells: spec.cells }) };
      const lists = new CellBuilder(core, {
        ...of,
        ...cells,
        kind,
        quantizer: quantizer === "int8" ? "none" : quantizer,
      });
      if (quantizer === "rabitq" || quantizer === "pq") return lists;
      return new BucketedBuilder(core, kind, { selector: lists, scan: scanBuilder(core, spec, of) });
    }
    case "LSH": {
      const { tables, bits } = spec;
      const shape = {
        ...of,
        ...seedOf(spec),
        ...(tables !== undefined && { tables }),
        ...(bits !== undefined && { bits }),
      };
      return new BucketedBuilder(core, kind, {
        selector: new LshBuilder(core, shape),
        scan: scanBuilder(core, spec, of),
      });
    }
    case "HNSW": {
      if (quantizer === "rabitq" || quantizer === "pq")
        throw new RangeError(`the quantizer ${quantizer} for HNSW, which walks none or int8`);
      const { m, efConstruction } = spec;
      const parameters = {
        quantizer,
        ...(m !== undefined && { m }),
        ...(efConstruction !== undefined && { efConstruction }),
      };
      return new HnswBuilder(core, { ...of, parameters, seed });
    }
    default:
      return kind satisfies never;
  }
}

export interface SavedKind extends SavedIndex {
  readonly kind: IndexKind;
  /** Bytes of the reduction of its rows; absent = they are whole. */
  readonly reduction?: Uint8Array | undefined;
}

/** A saved index says itself what it is, by its first section. @throws MalformedIndex, ArenaFull */
export function loaderFor(
  core: VectorCore,
  saved: SavedKind,
  of: RowsOfSegment & { readonly quantizer: Quantizer },
): IndexLoader {
  if (!saved.reduction) return kindLoader(core, saved, of);
  const projection = new Projection(core, readReduction(saved.reduction));
  try {
    if (projection.reduction.from !== of.rows.dimension)
      throw new MalformedIndex(`a reduction of ${projection.reduction.from} values for rows of ${of.rows.dimension}`);
    const inner = kindLoader(core, saved, { ...of, rows: reducedRows(core, of.rows, projection) });
    return reducedLoader(core, inner, { projection, fineness: finenessOf(of.quantizer) });
  } catch (error) {
    projection.release();
    throw error;
  }
}

function kindLoader(core: VectorCore, saved: SavedKind, of: RowsOfSegment): IndexLoader {
  switch (saved.kind) {
    case "FLAT":
      return openFlatLoader(core, saved, of);
    case "HNSW":
      return openHnswLoader(core, saved, of);
    case "IVF": {
      const { own, scan } = splitHeader(saved, CELL_HEADER_BYTES);
      const lists = openCellLoader(core, own, of);
      return readCellHeader(own.header).quantizer === "none" ? bucketed(core, "IVF", lists, scan, of) : lists;
    }
    case "LSH": {
      const { own, scan } = splitHeader(saved, LSH_HEADER_BYTES);
      return bucketed(core, "LSH", openLshLoader(core, own, of), scan, of);
    }
    default:
      return saved.kind satisfies never;
  }
}

/** The codes that a selector's rows are compared by: saved behind it, or, of float32 rows, made again of the rows. */
function bucketed(
  core: VectorCore,
  kind: "IVF" | "LSH",
  selector: Parameters<typeof bucketedLoader>[2]["selector"],
  saved: SavedIndex,
  of: RowsOfSegment,
): IndexLoader {
  try {
    return bucketedLoader(core, kind, { selector, scan: openScan(core, saved, of) });
  } catch (error) {
    selector.abandon();
    throw error;
  }
}

function openScan(core: VectorCore, saved: SavedIndex, of: RowsOfSegment): IndexLoader | SegmentIndex {
  if (saved.lengths.has(FLAT_SECTIONS.codes)) return openFlatLoader(core, saved, of);
  if (saved.lengths.has(CELL_SECTIONS.codes) && saved.header.length > 0) return openCellLoader(core, saved, of);
  const builder = new FlatBuilder(core, { ...of, quantizer: "none" });
  while (!builder.step({ rows: of.rows.count }));
  return builder.finish();
}

/** The first section of each kind. Coded blocks are FLAT or IVF: their own header tells. */
export const HEADER_SECTIONS: readonly (readonly [section: string, kind: IndexKind])[] = [
  [LSH_SECTIONS.header, "LSH"],
  [CELL_SECTIONS.header, "IVF"],
  [FLAT_SECTIONS.header, "FLAT"],
  [HNSW_SECTIONS.header, "HNSW"],
];
