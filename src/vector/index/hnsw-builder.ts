// Builds an HNSW index in slices: looks at all rows, encodes them, takes over what a seed graph has, inserts the others.
// Guarantees: a step does a bounded piece of work; `abandon` gives all memory back at any step; the same rows, parameters and seed
// give the same graph, however the steps are cut. Must not: fail for a bad row; it is quarantined.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { chooseMap, codeStride, encodeRows } from "../quantize/int8.ts";
import { copyRows, floatStride } from "./float-form.ts";
import type { VectorForm } from "./form-header.ts";
import { HnswGraph, levelOf } from "./hnsw-graph.ts";
import { HnswIndex } from "./hnsw-index.ts";
import {
  DEFAULT_EF_CONSTRUCTION,
  DEFAULT_M,
  MAX_EF_CONSTRUCTION,
  MAX_M,
  MAX_MENDED_SHARE,
  MAX_SEGMENT_ROWS,
  MIN_M,
  ROWS_PER_INSERT,
} from "./limits.ts";
import { forEachPiece } from "./row-pieces.ts";
import { RowSurvey } from "./row-survey.ts";
import { type IndexBuilder, type Rows, rowStride } from "./segment-index.ts";

export interface HnswParameters {
  /** Links that a row chooses; twice as many on level 0. */
  readonly m?: number;
  readonly efConstruction?: number;
  readonly quantizer?: "int8" | "none";
}

/** A graph whose rows are part of the new segment: a merge starts from the largest one it has. */
export interface HnswSeed {
  readonly index: HnswIndex;
  /** For each row of the seed its row in the new segment, or {@link GONE}. */
  readonly map: Uint32Array;
}

/** A row of a seed that is not in the new segment. */
export const GONE = 0xffff_ffff;

type Phase = "survey" | "encode" | "graft" | "mend" | "insert" | "done";
const PHASES: readonly Phase[] = ["survey", "encode", "graft", "mend", "insert", "done"];
/** How much of the whole each phase is, roughly; insertion is the rest. */
const SHARES: Readonly<Record<Phase, number>> = {
  survey: 0.01,
  encode: 0.02,
  graft: 0.02,
  mend: 0.05,
  insert: 0.9,
  done: 0,
};

export class HnswBuilder implements IndexBuilder {
  readonly #core: VectorCore;
  readonly #rows: Rows;
  readonly #metric: Metric;
  readonly #m: number;
  readonly #efConstruction: number;
  readonly #quantizer: "int8" | "none";
  readonly #seed: HnswSeed | undefined;
  readonly #survey: RowSurvey;
  #phase: Phase = "survey";
  #at = 0;
  #form: VectorForm | undefined;
  #graph: HnswGraph | undefined;
  /** u8 a row: its level. */
  #levels: Pointer = 0;
  /** u32 a row to insert, in order. */
  #order: Pointer = 0;
  #orderCount = 0;
  /** u32 a row of the seed. */
  #map: Pointer = 0;

  /** @throws RangeError for parameters out of bounds. Memory is taken as the steps need it. */
  constructor(
    core: VectorCore,
    options: { rows: Rows; metric: Metric; parameters?: HnswParameters; seed?: HnswSeed | undefined },
  ) {
    const { rows, metric, parameters = {}, seed } = options;
    const { m = DEFAULT_M, efConstruction = DEFAULT_EF_CONSTRUCTION, quantizer = "int8" } = parameters;
    if (!(Number.isInteger(m) && m >= MIN_M && m <= MAX_M))
      throw new RangeError(`m must be ${MIN_M} to ${MAX_M}, got ${m}`);
    if (!(Number.isInteger(efConstruction) && efConstruction >= 1 && efConstruction <= MAX_EF_CONSTRUCTION))
      throw new RangeError(`efConstruction must be 1 to ${MAX_EF_CONSTRUCTION}, got ${efConstruction}`);
    if (rows.count > MAX_SEGMENT_ROWS) throw new RangeError(`a segment has at most ${MAX_SEGMENT_ROWS} rows`);
    this.#core = core;
    this.#rows = rows;
    this.#metric = metric;
    this.#m = m;
    this.#efConstruction = efConstruction;
    this.#quantizer = quantizer;
    this.#seed = seed !== undefined && isUsable(seed, m) ? seed : undefined;
    this.#survey = new RowSurvey(core, rows, metric);
  }

  get quarantined(): readonly number[] {
    return this.#survey.quarantined;
  }

  get progress(): number {
    const index = PHASES.indexOf(this.#phase);
    if (this.#phase === "done") return 1;
    let before = 0;
    for (const phase of PHASES.slice(0, index)) before += SHARES[phase];
    const total = this.#total();
    return before + (total === 0 ? 0 : (SHARES[this.#phase] * this.#at) / total);
  }

  /** What `#at` counts up to in this phase. */
  #total(): number {
    switch (this.#phase) {
      case "survey":
      case "encode":
        return this.#rows.count;
      case "graft":
      case "mend":
        return this.#seed?.map.length ?? 0;
      case "insert":
        return this.#orderCount;
      case "done":
        return 0;
      default:
        return this.#phase satisfies never;
    }
  }

  needs({ rows }: { readonly rows: number }): { readonly from: number; readonly to: number } {
    if (this.#phase !== "survey" && this.#phase !== "encode") return { from: 0, to: 0 };
    return { from: this.#at, to: Math.min(this.#rows.count, this.#at + rows * ROWS_PER_INSERT) };
  }

  step(budget: { readonly rows: number }): boolean {
    if (this.#phase === "done") return true;
    const factor = this.#phase === "insert" ? 1 : ROWS_PER_INSERT;
    const to = Math.min(this.#total(), this.#at + Math.max(1, budget.rows) * factor);
    if (to > this.#at) this.#work(this.#at, to);
    this.#at = to;
    while (this.#phase !== ("done" as Phase) && this.#at >= this.#total()) this.#next();
    return this.#phase === ("done" as Phase);
  }

  #work(from: number, to: number): void {
    switch (this.#phase) {
      case "survey":
        this.#survey.look(from, to);
        return;
      case "encode":
        this.#encode(from, to);
        return;
      case "graft":
      case "mend":
        this.#transplant(from, to - from);
        return;
      case "insert":
        this.#insert(from, to - from);
        return;
      case "done":
        return;
      default:
        this.#phase satisfies never;
    }
  }

  #next(): void {
    if (this.#phase === "survey") this.#layOut();
    this.#phase = PHASES[PHASES.indexOf(this.#phase) + 1]!;
    this.#at = 0;
  }

  /** Knows all rows: takes the memory of the graph. */
  #layOut(): void {
    const { arena } = this.#core;
    const { count, dimension } = this.#rows;
    const { found, sample } = this.#survey;
    const metric = this.#metric;
    const radius = metric === "dot" ? found.squaredNorm : 0;
    this.#form =
      this.#quantizer === "int8"
        ? { quantizer: "int8", map: chooseMap(metric, dimension, found, sample) }
        : { quantizer: "none", metric, dimension, radius };
    const upperWords = this.#chooseOrder();
    const stride = this.#form.quantizer === "int8" ? codeStride(this.#form.map) : floatStride(this.#form);
    const resident = this.#rows.resident;
    const inPlace = this.#quantizer === "none" && metric === "euclidean" && resident?.length === 1;
    const borrowed = inPlace ? resident[0]!.at : undefined;
    this.#graph = new HnswGraph(arena, { rows: count, m: this.#m, stride, upperWords }, borrowed);
    this.#graph.beginBuilding();
    // Rows that are never inserted have no links.
    arena.bytes(this.#graph.parts.links, count * this.#m * 8).fill(0xff);
    arena.bytes(this.#graph.parts.upperAt, count * 4).fill(0xff);
  }

  /** Levels of all rows, and the list of those to insert. Returns the words that upper links take. */
  #chooseOrder(): number {
    const { arena } = this.#core;
    const { count } = this.#rows;
    this.#levels = arena.allocate(count);
    this.#order = arena.allocate(count * 4);
    const bad = new Set(this.quarantined);
    const held = new Uint8Array(count);
    let upperWords = 0;
    if (this.#seed !== undefined) {
      const { index, map } = this.#seed;
      this.#map = arena.allocate(map.length * 4);
      const copy = arena.words(this.#map, map.length);
      copy.set(map);
      for (const [old, row] of map.entries()) {
        if (row === GONE) continue;
        if (bad.has(row) || !index.graph.hasLinks(old)) copy[old] = GONE;
        else {
          held[row] = 1;
          const level = index.graph.levelOf(old);
          if (level > 0) upperWords += 1 + level * this.#m;
        }
      }
    }
    const levels = arena.bytes(this.#levels, count);
    const order = arena.words(this.#order, count);
    for (let row = 0; row < count; row++) {
      if (held[row] === 1 || bad.has(row)) continue;
      const level = levelOf(row, this.#m);
      levels[row] = level;
      if (level > 0) upperWords += 1 + level * this.#m;
      order[this.#orderCount++] = row;
    }
    return upperWords;
  }

  #encode(from: number, to: number): void {
    const form = this.#form!;
    const graph = this.#graph!;
    if (graph.isBorrowed) return;
    const { stride } = graph.shape;
    forEachPiece(this.#core, this.#rows, { from, to }, (piece) => {
      const into = graph.parts.vectors + piece.first * stride;
      if (form.quantizer === "none") copyRows(this.#core, form, piece, into);
      else {
        const source = { at: piece.at, stride: rowStride(this.#rows.dimension), count: piece.count, into };
        encodeRows(this.#core, form.map, source);
      }
    });
  }

  #scratch(): Pointer {
    const { stride, rows } = this.#graph!.shape;
    return this.#core.workspace.forWalk({ rows, keys: this.#efConstruction, codeBytes: stride });
  }

  #transplant(from: number, count: number): void {
    const { kernels } = this.#core;
    const call = this.#phase === "graft" ? kernels.hnswGraft : kernels.hnswMend;
    const isFloat = this.#quantizer === "none" ? 1 : 0;
    call(this.#graph!.at, this.#scratch(), isFloat, this.#seed!.index.graph.at, this.#map, from, count);
  }

  #insert(from: number, count: number): void {
    const isFloat = this.#quantizer === "none" ? 1 : 0;
    const scratch = this.#scratch();
    const rows = this.#order + from * 4;
    this.#core.kernels.hnswInsert(this.#graph!.at, scratch, isFloat, rows, count, this.#levels, this.#efConstruction);
  }

  finish(): HnswIndex {
    if (this.#phase !== "done") throw new Error("the index is not complete yet");
    const graph = this.#graph!;
    const form = this.#form!;
    graph.endBuilding();
    this.#graph = undefined;
    this.#release();
    return new HnswIndex(this.#core, graph, form, this.quarantined);
  }

  #release(): void {
    const { arena } = this.#core;
    for (const at of [this.#levels, this.#order, this.#map]) if (at !== 0) arena.free(at);
    this.#levels = 0;
    this.#order = 0;
    this.#map = 0;
  }

  abandon(): void {
    this.#graph?.release();
    this.#graph = undefined;
    this.#release();
  }
}

/** A seed helps if its lists have the same width and most of its rows are still there. */
function isUsable({ index, map }: HnswSeed, m: number): boolean {
  if (index.graph.shape.m !== m || map.length !== index.count || map.length === 0) return false;
  let gone = 0;
  for (const row of map) if (row === GONE) gone++;
  return gone / map.length <= MAX_MENDED_SHARE;
}
