// Hash tables over the rows of a segment, as an index keeps them: per table the keys of the rows in order, and the rows beside them.
// One extent of the arena, saved as it is, little-endian; planes follow from the seed.

import type { Pointer } from "../arena.ts";
import { METRIC_CODES, type VectorCore } from "../kernels.ts";
import { METRICS, type Metric } from "../metric.ts";
import { CodedSpace, spaceLength } from "../quantize/coded-space.ts";
import { refuse } from "./form-header.ts";
import { DEFAULT_BUCKETS, MAX_DIMENSION, MAX_HASH_BITS, MAX_HASHED_ROWS, MAX_TABLES } from "./limits.ts";
import { type Change, changeSets, changesOf, type HashShape, hashPlanes, mixStep, stepOf } from "./lsh-hash.ts";
import { markRows, type RowSelector, type Selection } from "./row-selector.ts";
import { arenaSection, bytesSection } from "./sections.ts";
import type { IndexSection, PreparedQuery } from "./segment-index.ts";

const MAGIC = 0x3148_534c; // "LSH1"
export const LSH_HEADER_BYTES = 48;
export const LSH_SECTIONS = { header: "lsh", tables: "lsh-tables" } as const;

export interface LshHeader extends HashShape {
  readonly metric: Metric;
  readonly dimension: number;
  /** Dot: the greatest squared norm of the rows; else 0. */
  readonly radius: number;
  readonly rows: number;
  /** Rows in the tables: those that can be compared. */
  readonly placed: number;
}

/** The mean of the rows, then keys and rows of each table. */
export function lshBytes(header: LshHeader): number {
  return spaceLength(header) * 4 + header.tables * header.placed * 8;
}

/** @throws MalformedIndex */
export function readLshHeader(bytes: Uint8Array): LshHeader {
  refuse(bytes.length !== LSH_HEADER_BYTES, `a header of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number): number => view.getUint32(index * 4, true);
  const [radius, width] = [view.getFloat32(32, true), view.getFloat64(40, true)];
  const metric = METRICS[word(1)];
  refuse(word(0) !== MAGIC || metric === undefined, "the magic number or metric of none");
  const [dimension, rows, placed, tables, bits, seed] = [word(2), word(3), word(4), word(5), word(6), word(7)];
  refuse(dimension < 1 || dimension > MAX_DIMENSION, `dimension ${dimension}`);
  refuse(rows > MAX_HASHED_ROWS || placed > rows, `${placed} of ${rows} rows in its tables`);
  refuse(tables < 1 || tables > MAX_TABLES || bits < 1 || bits > MAX_HASH_BITS, `${tables} tables of ${bits}`);
  refuse(!(radius >= 0 && width >= 0 && radius + width < Number.POSITIVE_INFINITY), `radius ${radius}, width ${width}`);
  return { metric: metric!, dimension, radius, rows, placed, tables, bits, width, seed };
}

/** Projects vectors of the space on all planes. */
export class Hasher {
  readonly #core: VectorCore;
  readonly #shape: HashShape;
  readonly space: CodedSpace;
  /** Planes, then their addresses. */
  readonly #at: Pointer;
  readonly #bytes: number;
  readonly #shifts: Float64Array;

  /** @throws ArenaFull */
  constructor(core: VectorCore, shape: HashShape & Pick<LshHeader, "metric" | "dimension" | "radius">) {
    this.#core = core;
    this.#shape = shape;
    const { metric, dimension, radius } = shape;
    this.space = new CodedSpace(core, { map: { quantizer: "none", metric, dimension, radius }, seed: undefined });
    const { planes, shifts } = hashPlanes(shape, this.space.length);
    this.#shifts = shifts;
    this.#bytes = planes.byteLength + shifts.length * 4;
    this.#at = core.arena.allocate(this.#bytes);
    core.arena.f32.set(planes, this.#at / 4);
    const list = core.arena.words(this.#at + planes.byteLength, shifts.length);
    for (const i of shifts.keys()) list[i] = this.#at + i * this.space.bytes;
  }

  get memoryBytes(): number {
    return this.#bytes + this.space.memoryBytes;
  }

  /** Projections on all planes; valid until the next call. */
  project(vector: Pointer): Float32Array {
    const { kernels, workspace, arena } = this.#core;
    const count = this.#shifts.length;
    const out = workspace.reserve("table", count * 4);
    const list = this.#at + count * this.space.bytes;
    kernels.distancesFloat(METRIC_CODES.dot, vector, 0, list, count, this.space.bytes, out);
    const values = arena.floats(out, count);
    for (let i = 0; i < count; i++) values[i] = -values[i]!;
    return values;
  }

  /** The key of one table, after some changes. */
  keyOf(projections: Float32Array, table: number, changes: readonly Change[] = []): number {
    const { bits } = this.#shape;
    let key = table;
    for (let i = 0; i < bits; i++) {
      const at = table * bits + i;
      let { step } = stepOf(projections[at]!, this.#shape, this.#shifts[at]!);
      for (const { projection, by } of changes) if (projection === i) step += by;
      key = mixStep(key, step);
    }
    return key;
  }

  changesOf(projections: Float32Array, table: number): readonly Change[] {
    return changesOf(projections, table * this.#shape.bits, this.#shape, this.#shifts);
  }

  release(): void {
    this.space.release();
    this.#core.arena.free(this.#at);
  }
}

export class LshTables implements RowSelector {
  readonly #core: VectorCore;
  readonly header: LshHeader;
  readonly #at: Pointer;
  readonly #hasher: Hasher;

  /** Takes the extent and the hasher over. */
  constructor(core: VectorCore, header: LshHeader, at: Pointer, hasher: Hasher) {
    this.#core = core;
    this.header = header;
    this.#at = at;
    this.#hasher = hasher;
  }

  get count(): number {
    return this.header.rows;
  }

  get memoryBytes(): number {
    return lshBytes(this.header) + this.#hasher.memoryBytes;
  }

  /** Reads the query's own buckets, then those beside them, until so many were read and enough live rows found. */
  select(query: PreparedQuery, selection: Selection): number {
    const { tables } = this.header;
    const { at } = this.#hasher.space.query(query, this.#at);
    const projections = this.#hasher.project(at).slice();
    const [probes, least] = [selection.probes ?? DEFAULT_BUCKETS, selection.least];
    let [found, read] = [0, 0];
    for (; read < tables && (read < probes || found < least); read++)
      found += this.#mark(read, this.#hasher.keyOf(projections, read), selection);
    if (read >= probes && found >= least) return found;
    const changes = Array.from({ length: tables }, (_, table) => this.#hasher.changesOf(projections, table));
    // Far from the query a scan is cheaper than more buckets.
    const most = Math.max(probes, 4 * DEFAULT_BUCKETS);
    for (const { table, changes: some } of changeSets(changes)) {
      if (read >= most || (read >= probes && found >= least)) break;
      found += this.#mark(table, this.#hasher.keyOf(projections, table, some), selection);
      read++;
    }
    return found;
  }

  /** Marks the rows of one bucket. */
  #mark(table: number, key: number, selection: Selection): number {
    const { arena } = this.#core;
    const { placed } = this.header;
    const { keys, rows } = tableAt(this.#core, this.header, this.#at, table);
    let [low, high] = [0, placed];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    let end = low;
    while (end < placed && keys[end] === key) end++;
    return end === low ? 0 : markRows(arena, rows.subarray(low, end), selection);
  }

  save(): readonly IndexSection[] {
    const bytes = new Uint8Array(LSH_HEADER_BYTES);
    const view = new DataView(bytes.buffer);
    const { metric, dimension, radius, rows, placed, tables, bits, seed, width } = this.header;
    const words = [MAGIC, METRICS.indexOf(metric), dimension, rows, placed, tables, bits, seed];
    for (const [i, word] of words.entries()) view.setUint32(i * 4, word, true);
    view.setFloat32(32, radius, true);
    view.setFloat64(40, width, true);
    const byteLength = lshBytes(this.header);
    const section = arenaSection(this.#core.arena, { name: LSH_SECTIONS.tables, at: this.#at, byteLength });
    return [bytesSection(LSH_SECTIONS.header, bytes), section];
  }

  release(): void {
    this.#hasher.release();
    this.#core.arena.free(this.#at);
  }
}

/** Keys and rows of one table. */
export function tableAt({ arena }: VectorCore, header: LshHeader, at: Pointer, table: number) {
  const keys = at + spaceLength(header) * 4 + table * header.placed * 8;
  return { keys: arena.words(keys, header.placed), rows: arena.words(keys + header.placed * 4, header.placed) };
}
