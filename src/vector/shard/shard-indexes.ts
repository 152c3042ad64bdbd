// The indexes of a shard's sealed segments: built when a segment is written or an index is wanted anew, loaded when it is opened, released
// when it goes. Guarantees: a segment is always searchable: while it lacks an index, an older build of it answers, else another index, else
// a scan; what it lacks, and which rows an index does not hold, is listed.
import { ArenaFull } from "../arena.ts";
import { FlatScan } from "../index/flat-index.ts";
import type { HnswSeed } from "../index/hnsw-builder.ts";
import { HnswIndex } from "../index/hnsw-index.ts";
import { type IndexBuilder, MalformedIndex, type Rows, rowStride, type SegmentIndex } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { ReducedIndex } from "../reduce/reduced-index.ts";
import { AwayBlocks } from "../segment/away.ts";
import { CorruptSegment } from "../segment/directory.ts";
import type { Segment } from "../segment/segment.ts";
import type { SegmentWriter } from "../segment/segment-writer.ts";
import { Slice } from "../slice.ts";
import { builderFor, type IndexSpec, isUnsaved, keyOf, loaderFor } from "./index-kinds.ts";
import { BUILD_SLICE_STEPS, BUILD_STEP_ROWS, SPARE_MEMORY_SHARE } from "./limits.ts";
import { placeOf, savedIndex, savedKeys, savedQuarantine, saveIndex } from "./saved-indexes.ts";

export interface BuiltIndex {
  readonly spec: IndexSpec;
  readonly index: SegmentIndex;
  /** Rows that it does not hold: they could not be read, or cannot be compared. */
  readonly quarantined: readonly number[];
}

/** By key (index-kinds.ts). */
export type BuiltIndexes = ReadonlyMap<string, BuiltIndex>;

/** A segment whose rows became a new one's: its number, and old row → new row or DROPPED. */
export interface Origin {
  readonly segment: number;
  readonly rowOf: Uint32Array;
}

export interface MissingIndex {
  readonly segment: number;
  readonly index: string;
  readonly why: string;
}

export interface ShardIndexesOptions {
  readonly core: VectorCore;
  readonly metric: Metric;
  /** Milliseconds. */
  readonly now: () => number;
  /** At least one; the first is the default. */
  readonly specs: readonly IndexSpec[];
  /** Told when a segment has to do without an index. */
  readonly onMissing: (what: MissingIndex) => void;
}

/** float32 rows of a sealed segment, read from its blocks. */
export function rowsOf({ arena }: VectorCore, segment: Segment): Rows {
  const { dimension } = segment.directory;
  const stride = rowStride(dimension);
  return {
    count: segment.rowCount,
    dimension,
    require: (rows) => segment.requireValues(rows),
    gather(rows, into) {
      const rowBytes = dimension * 4;
      for (let i = 0; i < rows.length; i++) {
        const at = into + i * stride;
        arena.u8.set(segment.valuesOf(rows[i]!), at);
        if (rowBytes < stride) arena.u8.fill(0, at + rowBytes, at + stride);
      }
    },
    read(from, count, into) {
      const rowBytes = dimension * 4;
      let start = into;
      for (const values of segment.valuesFrom(from, count)) {
        if (rowBytes === stride) arena.u8.set(values, start);
        else {
          for (let at = 0; at < values.length; at += rowBytes) {
            const row = start + (at / rowBytes) * stride;
            arena.u8.set(values.subarray(at, at + rowBytes), row);
            arena.u8.fill(0, row + rowBytes, row + stride);
          }
        }
        start += (values.length / rowBytes) * stride;
      }
    },
  };
}

/** The same for builders: a row that cannot be read is no number anywhere, which they leave out, and is named. */
function readableRows(core: VectorCore, segment: Segment): Rows & { readonly unreadable: ReadonlySet<number> } {
  // What is away is not unreadable: it is told as it is.
  const { gather: _, ...rows } = rowsOf(core, segment);
  const stride = rowStride(rows.dimension);
  const unreadable = new Set<number>();
  return {
    ...rows,
    unreadable,
    read(from, count, into) {
      try {
        return rows.read(from, count, into);
      } catch (error) {
        if (!(error instanceof CorruptSegment)) throw error;
      }
      for (let at = 0; at < count; at++) {
        try {
          rows.read(from + at, 1, into + at * stride);
        } catch (error) {
          if (!(error instanceof CorruptSegment)) throw error;
          unreadable.add(from + at);
          core.arena.floats(into + at * stride, stride / 4).fill(Number.NaN);
        }
      }
    },
  };
}

export class ShardIndexes {
  readonly #options: ShardIndexesOptions;
  #specs: readonly IndexSpec[];
  readonly #indexes = new Map<number, Map<string, BuiltIndex>>();
  /** Why a segment lacks an index that it should have, by place: not tried again before something changes. */
  readonly #missing = new Map<string, MissingIndex>();
  /** Every segment has what is wanted and nothing else, as far as was looked. */
  isSettled = false;
  /** The build that goes on behind searches: 0..1. */
  #underWay: { readonly place: string; progress: number } | undefined;

  constructor(options: ShardIndexesOptions) {
    this.#options = options;
    this.#specs = options.specs;
  }

  get specs(): readonly IndexSpec[] {
    return this.#specs;
  }

  /** From now on these are wanted. Older builds serve until the new ones are there; what has no name any more is released. */
  want(specs: readonly IndexSpec[]): void {
    this.#specs = specs;
    this.#missing.clear();
    this.isSettled = false;
    for (const segment of this.#indexes.keys()) this.#releaseSurplus(segment);
  }

  isWanted(key: string): boolean {
    return this.#specs.some((spec) => keyOf(spec) === key);
  }

  /** Bytes of the arena that indexes own: all, or the wanted build of one. */
  memoryBytes(name?: string): number {
    const all = [...this.#indexes.values()].flatMap((held) => [...held.values()]);
    const own = name === undefined ? all : all.filter(({ spec }) => spec.name === name && this.isWanted(keyOf(spec)));
    return own.reduce((sum, { index }) => sum + index.memoryBytes, 0);
  }

  /** What answers for an index of this name: itself, or `instead` an older build of it, another index, or a scan. */
  of(segment: Segment, name: string): { readonly index: SegmentIndex; readonly instead?: string } {
    const held = this.#indexes.get(segment.number);
    const wanted = this.#specs.find((spec) => spec.name === name);
    const own = wanted && held?.get(keyOf(wanted));
    if (own) return own;
    const others = [...(held ?? [])];
    const [other] = [...others.filter(([, { spec }]) => spec.name === name).reverse(), ...others];
    if (other) return { index: other[1].index, instead: other[0] };
    return { index: new FlatScan(this.#options.core, rowsOf(this.#options.core, segment)), instead: "none" };
  }

  /** The wanted build of an index in a segment. */
  built(segment: Segment, spec: IndexSpec): BuiltIndex | undefined {
    return this.#indexes.get(segment.number)?.get(keyOf(spec));
  }

  /** What segments lack of an index, for its status. */
  missing(name: string): readonly MissingIndex[] {
    return [...this.#missing.values()].filter(({ index }) => index === name);
  }

  /** The part of a segment's index that is done, 0..1. */
  progressOf(segment: Segment, spec: IndexSpec): number {
    if (this.built(segment, spec)) return 1;
    return this.#underWay?.place === place(segment, keyOf(spec)) ? this.#underWay.progress : 0;
  }

  /** The next index to build behind the searches: large segments first. */
  nextToBuild(segments: readonly Segment[]): { readonly segment: Segment; readonly spec: IndexSpec } | undefined {
    for (const segment of segments.toSorted((a, b) => b.rowCount - a.rowCount)) {
      const spec = this.#specs.find(
        (wanted) => !this.built(segment, wanted) && !this.#missing.has(place(segment, keyOf(wanted))),
      );
      if (spec) return { segment, spec };
    }
    return undefined;
  }

  /** It is searched without its values but for those of candidates: all that is wanted is built, of codes. */
  needsNoValues(segment: Segment): boolean {
    return this.#specs.every((spec) => spec.quantizer !== "none" && this.built(segment, spec) !== undefined);
  }

  /** Builds whose sections a segment has, and that no search will ask any more. */
  surplusOf(segment: Segment): readonly string[] {
    const held = this.#indexes.get(segment.number);
    return [...savedKeys(segment.directory)].filter((key) => !this.isWanted(key) && !held?.has(key));
  }

  /** Builds all indexes of a segment whose columns are written, and adds their sections. With pauses. `origins`: where its rows were. */
  *build(segment: Segment, writer: SegmentWriter, origins: readonly Origin[]): Generator<void, BuiltIndexes> {
    const built = new Map<string, BuiltIndex>();
    try {
      for (const spec of this.#specs) {
        const key = keyOf(spec);
        const one = yield* this.#buildOne(segment, spec, this.#seed(key, origins));
        if (!one) continue;
        built.set(key, one);
        yield* saveIndex(one, key, { sink: writer, now: this.#options.now });
      }
    } catch (error) {
      for (const { index } of built.values()) index.release();
      throw error;
    }
    return built;
  }

  /** Builds one wanted index of a segment that serves; undefined = it is not wanted any more, or does not fit. With pauses. */
  *buildBehind(segment: Segment, spec: IndexSpec): Generator<void, BuiltIndex | undefined> {
    const { arena } = this.#options.core;
    const key = keyOf(spec);
    const underWay = { place: place(segment, key), progress: 0 };
    this.#underWay = underWay;
    const work = this.#buildOne(segment, spec, undefined, (progress) => {
      underWay.progress = progress;
      // What is written next must find room: an index is given up before writes are.
      const spare = arena.budgetBytes - arena.usedBytes;
      if (spare < arena.budgetBytes * SPARE_MEMORY_SHARE)
        throw new ArenaFull(arena.budgetBytes * SPARE_MEMORY_SHARE, arena.usedBytes, arena.budgetBytes);
    });
    try {
      for (;;) {
        const step = work.next();
        if (step.done) return step.value;
        yield;
        if (!this.isWanted(key)) return undefined;
      }
    } finally {
      work.return(undefined);
      this.#underWay = undefined;
    }
  }

  /** The largest graph among the old segments: the new one takes it over and inserts the other rows only. */
  #seed(key: string, origins: readonly Origin[]): HnswSeed | undefined {
    let seed: HnswSeed | undefined;
    for (const { segment, rowOf } of origins) {
      const held = this.#indexes.get(segment)?.get(key)?.index;
      // Links stay good where the rows are reduced anew: they are mended by the new ones.
      const index = held instanceof ReducedIndex ? held.inner : held;
      if (index instanceof HnswIndex && index.count > (seed?.index.count ?? 0)) seed = { index, map: rowOf };
    }
    return seed;
  }

  *#buildOne(
    segment: Segment,
    spec: IndexSpec,
    seed?: HnswSeed,
    onStep?: (progress: number) => void,
  ): Generator<void, BuiltIndex | undefined> {
    const { core, metric, now } = this.#options;
    let builder: IndexBuilder | undefined;
    try {
      const rows = readableRows(core, segment);
      builder = builderFor(core, spec, { rows, metric, ...(seed && { seed }) });
      const slice = new Slice(now, BUILD_SLICE_STEPS);
      while (!builder.step({ rows: BUILD_STEP_ROWS })) {
        onStep?.(builder.progress);
        if (slice.isOver()) yield;
      }
      onStep?.(1);
      const quarantined = [...new Set([...builder.quarantined, ...rows.unreadable])].sort((a, b) => a - b);
      const index = builder.finish();
      builder = undefined;
      return { spec, index, quarantined };
    } catch (error) {
      if (!(error instanceof ArenaFull)) throw error;
      this.#miss(segment, spec, error.message);
      return undefined;
    } finally {
      // Also when the generator is given up between two slices.
      builder?.abandon();
    }
  }

  #miss(segment: Segment, spec: IndexSpec, why: string): void {
    const what = { segment: segment.number, index: spec.name, why };
    this.#missing.set(place(segment, keyOf(spec)), what);
    this.#options.onMissing(what);
  }

  /** What was built belongs to this segment now, beside what it has. */
  attach(segment: Segment, built: BuiltIndexes): void {
    const held = this.#indexes.get(segment.number) ?? new Map<string, BuiltIndex>();
    for (const [key, one] of built) held.set(key, one);
    this.#indexes.set(segment.number, held);
    this.#releaseSurplus(segment.number);
    this.#name(segment);
    this.isSettled = false;
  }

  /** While its columns were written the segment had no number yet. */
  #name(segment: Segment): void {
    for (const [key, what] of [...this.#missing]) {
      if (what.segment !== 0) continue;
      this.#missing.delete(key);
      this.#missing.set(key.replace(/^0/, String(segment.number)), { ...what, segment: segment.number });
    }
  }

  /** Builds that are not wanted go, but for those that serve until the wanted one of their name is there. */
  #releaseSurplus(segment: number): void {
    const held = this.#indexes.get(segment);
    for (const [key, { spec, index }] of held ?? []) {
      if (this.isWanted(key)) continue;
      const wanted = this.#specs.find(({ name }) => name === spec.name);
      if (wanted && !held?.has(keyOf(wanted))) continue;
      index.release();
      held?.delete(key);
    }
  }

  /** Loads what is saved of the indexes that are wanted, or of those that serve in their place. What is missing is built later. */
  open(segment: Segment): void {
    if (this.#indexes.has(segment.number)) return;
    const held = new Map<string, BuiltIndex>();
    const saved = [...savedKeys(segment.directory)];
    for (const spec of this.#specs) {
      const key = keyOf(spec);
      // Of values that are in the blob store it is built when they are back.
      const isMadeNow = isUnsaved(spec, segment.rowCount) && !segment.isAway;
      const one = isMadeNow ? finished(this.#buildOne(segment, spec)) : this.#load(segment, spec);
      if (one) held.set(key, one);
      if (one) continue;
      const older = saved.filter((other) => other === spec.name || other.startsWith(`${spec.name}~`)).reverse();
      for (const other of older) {
        const build = other === spec.name ? 0 : Number(other.slice(spec.name.length + 1));
        const serves = other !== key && this.#load(segment, { ...spec, build });
        if (!serves) continue;
        held.set(other, serves);
        break;
      }
    }
    this.#indexes.set(segment.number, held);
    this.isSettled = false;
  }

  #load(segment: Segment, spec: IndexSpec): BuiltIndex | undefined {
    const { core, metric } = this.#options;
    const key = keyOf(spec);
    try {
      const saved = savedIndex(segment, key);
      if (!saved) return undefined;
      const loader = loaderFor(core, saved, { rows: readableRows(core, segment), metric, quantizer: spec.quantizer });
      try {
        for (const { name, at } of loader.targets) {
          const loading = segment
            .reader(placeOf(key, name))
            .load((offset, length) => core.arena.bytes(at + offset, length));
          finished(loading);
        }
      } catch (error) {
        loader.abandon();
        throw error;
      }
      return { spec, index: loader.finish(), quarantined: savedQuarantine(segment, key) };
    } catch (error) {
      if (error instanceof ArenaFull) this.#miss(segment, spec, error.message);
      else if (error instanceof AwayBlocks || error instanceof MalformedIndex || error instanceof CorruptSegment)
        this.#options.onMissing({ segment: segment.number, index: spec.name, why: error.message });
      else throw error;
      return undefined;
    }
  }

  drop(segment: Pick<Segment, "number">): void {
    for (const { index } of this.#indexes.get(segment.number)?.values() ?? []) index.release();
    this.#indexes.delete(segment.number);
    this.isSettled = false;
    for (const key of this.#missing.keys()) if (key.startsWith(place(segment, ""))) this.#missing.delete(key);
  }

  /** Drops those of all other segments. */
  keepOnly(numbers: ReadonlySet<number>): void {
    for (const number of this.#indexes.keys()) if (!numbers.has(number)) this.drop({ number });
  }
}

const place = (segment: Pick<Segment, "number">, key: string): string => `${segment.number}/${key}`;

/** Runs to the end without pauses. @throws AwayBlocks where it would have to wait for them */
export function finished<T>(work: Generator<unknown, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (step.value instanceof AwayBlocks) throw step.value;
  }
}
