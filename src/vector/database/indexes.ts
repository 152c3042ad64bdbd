// Which indexes a database has: the one it was made with, `default`, and those made beside it; what their changes come to. Pure.
// Guarantees: a build number is never given twice, so that no segment takes what was built before for what is wanted now.
import type { IndexKind } from "../index/segment-index.ts";
import type { ReducedSpec } from "../reduce/reduced-builder.ts";
import type { IndexSpec, Quantizer } from "../shard/index-kinds.ts";
import { MAX_INDEXES } from "./limits.ts";

/** The index that every database begins with. */
export const DEFAULT_INDEX = "default";

export interface IndexParameters {
  readonly quantizer: Quantizer;
  /** HNSW only, as the next two: links that a row chooses; candidates while it is inserted; candidates of a search. */
  readonly M?: number | undefined;
  readonly efConstruction?: number | undefined;
  readonly efSearch?: number | undefined;
  /** IVF only: lists; absent = by the number of rows. */
  readonly lists?: number | undefined;
  /** LSH only: hash tables, and projections of a key; absent = by the number of rows. */
  readonly tables?: number | undefined;
  readonly bits?: number | undefined;
  /** IVF, LSH: lists or buckets that a search reads; absent = by the number of rows. */
  readonly probes?: number | undefined;
}

/** An index beside the default one. */
export interface IndexRecord {
  readonly indexId: string;
  readonly indexType: IndexKind;
  readonly indexParameters: IndexParameters;
  readonly build: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export type IndexChange =
  | ({ readonly kind: "create" } & Pick<IndexRecord, "indexId" | "indexType" | "indexParameters">)
  | {
      readonly kind: "update";
      readonly indexId: string;
      /** All of them. */
      readonly indexParameters?: IndexParameters | undefined;
      /** Built anew though nothing changed. */
      readonly rebuild: boolean;
    }
  | { readonly kind: "delete"; readonly indexId: string };

/** What of a database's record an index changes. */
export interface IndexFields {
  /** Of the default index. */
  readonly indexParameters: IndexParameters;
  /** Those beside the default one; absent = none. */
  readonly indexes?: readonly IndexRecord[];
  /** The build of the default index, and the last number given to any; absent = 0. */
  readonly defaultBuild?: number;
  readonly lastBuild?: number;
}

type IndexedRecord = IndexFields & { readonly indexType: IndexKind; readonly reduction?: ReducedSpec | undefined };

export type IndexRefusal = { readonly refused: "notFound" | "alreadyExists" | "conflict"; readonly message: string };

/** Parameters of searches: changing them builds nothing. */
const OF_SEARCHES: ReadonlySet<string> = new Set(["efSearch", "probes"] satisfies (keyof IndexParameters)[]);

/** Segments must be given the index anew. */
export function isBuiltAnew(old: IndexParameters, now: IndexParameters): boolean {
  const names = new Set([...Object.keys(old), ...Object.keys(now)] as (keyof IndexParameters)[]);
  return [...names].some((name) => !OF_SEARCHES.has(name) && old[name] !== now[name]);
}

/** All indexes, the default one first. */
export function indexesOf(
  record: IndexedRecord,
): readonly (Omit<IndexRecord, "createdAtMs" | "updatedAtMs"> & Partial<IndexRecord>)[] {
  const { indexType, indexParameters, defaultBuild = 0, indexes = [] } = record;
  return [{ indexId: DEFAULT_INDEX, indexType, indexParameters, build: defaultBuild }, ...indexes];
}

export function changedIndexes(record: IndexedRecord, change: IndexChange, nowMs: number): IndexFields | IndexRefusal {
  const { indexes = [], indexParameters, defaultBuild = 0, lastBuild = 0 } = record;
  const { indexId } = change;
  const held = indexesOf(record).find((index) => index.indexId === indexId);
  const build = lastBuild + 1;
  const same = { indexParameters, indexes, defaultBuild, lastBuild };
  if (change.kind === "create") {
    if (held) return { refused: "alreadyExists", message: `there is an index "${indexId}"` };
    if (indexes.length + 1 >= MAX_INDEXES) {
      const message = `the database has ${indexes.length + 1} indexes, which is the limit`;
      return { refused: "conflict", message };
    }
    const { indexType, indexParameters: parameters } = change;
    const index = { indexId, indexType, indexParameters: parameters, build, createdAtMs: nowMs, updatedAtMs: nowMs };
    return { ...same, indexes: [...indexes, index], lastBuild: build };
  }
  if (!held) return { refused: "notFound", message: `there is no index "${indexId}"` };
  if (change.kind === "delete") {
    if (indexId === DEFAULT_INDEX)
      return { refused: "conflict", message: "the index that a database is made with goes with the database only" };
    return { ...same, indexes: indexes.filter((index) => index.indexId !== indexId) };
  }
  const parameters = change.indexParameters ?? held.indexParameters;
  const isAnew = change.rebuild || isBuiltAnew(held.indexParameters, parameters);
  const builds = isAnew ? { build, lastBuild: build } : { build: held.build, lastBuild };
  if (indexId === DEFAULT_INDEX)
    return { ...same, indexParameters: parameters, defaultBuild: builds.build, lastBuild: builds.lastBuild };
  const changed = { indexParameters: parameters, build: builds.build, updatedAtMs: nowMs };
  return {
    ...same,
    lastBuild: builds.lastBuild,
    indexes: indexes.map((index) => (index.indexId === indexId ? { ...index, ...changed } : index)),
  };
}

/** What shards must know of the indexes, the default one first. */
export function indexSpecsOf(record: IndexedRecord): readonly IndexSpec[] {
  return indexesOf(record).map(({ indexId, indexType, indexParameters, build }) => {
    const { quantizer, M, efConstruction, efSearch, lists, tables, bits, probes } = indexParameters;
    return {
      name: indexId,
      ...(build > 0 && { build }),
      kind: indexType,
      quantizer,
      ...(record.reduction && { reduction: record.reduction }),
      ...(M !== undefined && { m: M }),
      ...(efConstruction !== undefined && { efConstruction }),
      ...(lists !== undefined && { cells: lists }),
      ...(tables !== undefined && { tables }),
      ...(bits !== undefined && { bits }),
      effort: { ...(efSearch !== undefined && { ef: efSearch }), ...(probes !== undefined && { probes }) },
    };
  });
}
