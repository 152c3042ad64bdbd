// The indexes of a shard's sealed segments: built when a segment is written, loaded when it is opened, released when it goes.
// Guarantees: a segment is always searchable: one whose index does not fit the memory, or cannot be read, is scanned, and listed as such.
import { ArenaFull } from "../arena.ts";
import type { HnswSeed } from "../index/hnsw-builder.ts";
import { HnswIndex } from "../index/hnsw-index.ts";
import type { IndexKind } from "../index/segment-index.ts";
import { type IndexBuilder, MalformedIndex, type Rows, rowStride, type SegmentIndex } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { CorruptSegment } from "../segment/directory.ts";
import { BLOCK_BYTES } from "../segment/limits.ts";
import type { Segment } from "../segment/segment.ts";
import type { SegmentWriter } from "../segment/segment-writer.ts";
import { builderFor, HEADER_SECTIONS, type IndexSpec, loaderFor } from "./index-kinds.ts";
import { BUILD_SLICE_ROWS } from "./limits.ts";
import { RowScan } from "./row-scan.ts";

/** By name of the index. */
export type BuiltIndexes = ReadonlyMap<string, SegmentIndex>;

/** A segment whose rows became a new one's: its number, and old row → new row or DROPPED. */
export interface Origin {
  readonly segment: number;
  readonly rowOf: Uint32Array;
}

export interface ShardIndexesOptions {
  readonly core: VectorCore;
  readonly metric: Metric;
  readonly specs: readonly IndexSpec[];
  /** Told when a segment has to do without an index. */
  readonly onMissing: (what: { readonly segment: number; readonly index: string; readonly why: string }) => void;
}

/** float32 rows of a sealed segment, read from its blocks. */
export function rowsOf({ arena }: VectorCore, segment: Segment): Rows {
  const { dimension } = segment.directory;
  const stride = rowStride(dimension);
  return {
    count: segment.rowCount,
    dimension,
    read(from, count, into) {
      for (let at = 0; at < count; at++) {
        const values = segment.valuesOf(from + at);
        const start = into + at * stride;
        arena.u8.set(values, start);
        arena.u8.fill(0, start + values.length, start + stride);
      }
    },
  };
}

export class ShardIndexes {
  readonly #options: ShardIndexesOptions;
  readonly #indexes = new Map<number, BuiltIndexes>();

  constructor(options: ShardIndexesOptions) {
    this.#options = options;
  }

  /** Bytes of the arena that indexes own. */
  get memoryBytes(): number {
    return [...this.#indexes.values()]
      .flatMap((built) => [...built.values()])
      .reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  }

  of(segment: Segment, name: string): SegmentIndex {
    return (
      this.#indexes.get(segment.number)?.get(name) ??
      new RowScan(this.#options.core, rowsOf(this.#options.core, segment))
    );
  }

  /** Builds all indexes of a segment whose columns are written, and adds their sections. With pauses. `origins`: where its rows were. */
  *build(segment: Segment, writer: SegmentWriter, origins: readonly Origin[]): Generator<void, BuiltIndexes> {
    const built = new Map<string, SegmentIndex>();
    try {
      for (const spec of this.#options.specs) {
        const index = yield* this.#buildOne(segment, spec, this.#seed(spec.name, origins));
        if (!index) continue;
        built.set(spec.name, index);
        yield* save(index, spec.name, writer);
      }
    } catch (error) {
      for (const index of built.values()) index.release();
      throw error;
    }
    return built;
  }

  /** The largest graph among the old segments: the new one takes it over and inserts the other rows only. */
  #seed(name: string, origins: readonly Origin[]): HnswSeed | undefined {
    let seed: HnswSeed | undefined;
    for (const { segment, rowOf } of origins) {
      const index = this.#indexes.get(segment)?.get(name);
      if (index instanceof HnswIndex && index.count > (seed?.index.count ?? 0)) seed = { index, map: rowOf };
    }
    return seed;
  }

  *#buildOne(segment: Segment, spec: IndexSpec, seed?: HnswSeed): Generator<void, SegmentIndex | undefined> {
    const { core, metric } = this.#options;
    let builder: IndexBuilder | undefined;
    try {
      builder = builderFor(core, spec, { rows: rowsOf(core, segment), metric, ...(seed && { seed }) });
      while (!builder.step({ rows: BUILD_SLICE_ROWS })) yield;
      const index = builder.finish();
      builder = undefined;
      return index;
    } catch (error) {
      if (!(error instanceof ArenaFull)) throw error;
      this.#options.onMissing({ segment: segment.number, index: spec.name, why: error.message });
      return undefined;
    } finally {
      // Also when the generator is given up between two slices.
      builder?.abandon();
    }
  }

  /** What `build` made belongs to this segment now. */
  attach(segment: Segment, built: BuiltIndexes): void {
    this.#indexes.set(segment.number, built);
  }

  /** Loads what is saved of each index, or builds it where nothing is. Synchronous: a shard that wakes does nothing else. */
  open(segment: Segment): void {
    if (this.#indexes.has(segment.number)) return;
    const built = new Map<string, SegmentIndex>();
    for (const spec of this.#options.specs) {
      const index = this.#load(segment, spec) ?? finished(this.#buildOne(segment, spec));
      if (index) built.set(spec.name, index);
    }
    this.#indexes.set(segment.number, built);
  }

  #load(segment: Segment, spec: IndexSpec): SegmentIndex | undefined {
    const { core, metric } = this.#options;
    const saved = savedIndex(segment, spec.name);
    if (!saved) return undefined;
    try {
      const loader = loaderFor(core, saved, { rows: rowsOf(core, segment), metric });
      try {
        for (const { name, at } of loader.targets) {
          const loading = segment
            .reader(`index/${spec.name}/${name}`)
            .load((offset, length) => core.arena.bytes(at + offset, length));
          finished(loading);
        }
      } catch (error) {
        loader.abandon();
        throw error;
      }
      return loader.finish();
    } catch (error) {
      if (!(error instanceof MalformedIndex || error instanceof CorruptSegment || error instanceof ArenaFull))
        throw error;
      this.#options.onMissing({ segment: segment.number, index: spec.name, why: error.message });
      return undefined;
    }
  }

  drop(segment: Pick<Segment, "number">): void {
    for (const index of this.#indexes.get(segment.number)?.values() ?? []) index.release();
    this.#indexes.delete(segment.number);
  }

  /** Drops those of all other segments. */
  keepOnly(numbers: ReadonlySet<number>): void {
    for (const number of this.#indexes.keys()) if (!numbers.has(number)) this.drop({ number });
  }
}

/** Runs to the end without pauses. */
export function finished<T>(work: Generator<void, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

function savedIndex(segment: Segment, name: string) {
  const prefix = `index/${name}/`;
  const lengths = new Map<string, number>();
  for (const [section, { rawBytes }] of segment.directory.sections) {
    if (section.startsWith(prefix)) lengths.set(section.slice(prefix.length), rawBytes);
  }
  const header: [string, IndexKind] | undefined = HEADER_SECTIONS.find(([section]) => lengths.has(section)) as never;
  if (!header) return undefined;
  return { kind: header[1], header: segment.reader(prefix + header[0]).all(), lengths };
}

function* save(index: SegmentIndex, name: string, writer: SegmentWriter): Generator<void, void> {
  for (const section of index.save()) {
    const blocks = writer.section(`index/${name}/${section.name}`);
    for (let from = 0; from < section.byteLength; from += BLOCK_BYTES) {
      blocks.block(section.read(from, Math.min(section.byteLength, from + BLOCK_BYTES)));
      if ((from / BLOCK_BYTES) % 16 === 15) yield;
    }
    writer.addSection(blocks.finish());
    yield;
  }
}
