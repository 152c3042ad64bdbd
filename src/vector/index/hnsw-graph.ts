// The memory of one HNSW graph in the arena, and its descriptor as wasm/vector/hnsw-graph.ts reads it.
// Guarantees: all or nothing is allocated; `release` gives all back. Must not: know rows or queries.

import type { Arena, Pointer } from "../arena.ts";

const WORDS = 16;
const NONE = 0xffff_ffff;

export interface GraphShape {
  readonly rows: number;
  readonly m: number;
  /** Bytes of a vector in the graph: u8 codes or float32. */
  readonly stride: number;
  /** u32 words of the links above level 0. */
  readonly upperWords: number;
}

export interface GraphParts {
  readonly vectors: Pointer;
  readonly links: Pointer;
  readonly upperAt: Pointer;
  readonly upper: Pointer;
}

export class HnswGraph {
  readonly #arena: Arena;
  readonly shape: GraphShape;
  readonly parts: GraphParts;
  readonly at: Pointer;
  /** True if the vectors are the segment's float32 rows. */
  readonly isBorrowed: boolean;
  readonly #owned: Pointer[] = [];
  #building: readonly Pointer[] = [];

  /** @throws ArenaFull */
  constructor(arena: Arena, shape: GraphShape, borrowedVectors?: Pointer) {
    this.#arena = arena;
    this.shape = shape;
    this.isBorrowed = borrowedVectors !== undefined;
    const { rows, m, stride, upperWords } = shape;
    const take = (bytes: number): Pointer => {
      const at = arena.allocate(bytes);
      this.#owned.push(at);
      return at;
    };
    try {
      this.at = take(WORDS * 4);
      this.parts = {
        vectors: borrowedVectors ?? take(rows * stride),
        links: take(rows * m * 8),
        upperAt: take(rows * 4),
        upper: take(upperWords * 4),
      };
    } catch (error) {
      this.release();
      throw error;
    }
    const words = arena.words(this.at, WORDS);
    words.fill(0);
    words.set([this.parts.vectors, stride, this.parts.links, 2 * m, m, this.parts.upperAt, this.parts.upper]);
    words[8] = NONE;
    words[12] = rows;
  }

  /** Makes room for the distances of links. @throws ArenaFull */
  beginBuilding(): void {
    const { rows, m, upperWords } = this.shape;
    const distances = this.#arena.allocate(rows * m * 8);
    this.#building = [distances];
    const beside = this.#arena.allocate(upperWords * 4);
    this.#building = [distances, beside];
    const words = this.#words();
    words[9] = distances;
    words[10] = beside;
  }

  endBuilding(): void {
    for (const at of this.#building) this.#arena.free(at);
    this.#building = [];
  }

  #words(): Uint32Array {
    return this.#arena.words(this.at, WORDS);
  }

  get entry(): { readonly row: number; readonly level: number } {
    const words = this.#words();
    return { row: words[7]!, level: words[8]! | 0 };
  }

  set entry({ row, level }: { readonly row: number; readonly level: number }) {
    const words = this.#words();
    words[7] = row;
    words[8] = level;
  }

  /** Rows whose distance the last call computed. */
  get scored(): number {
    return this.#words()[14]!;
  }

  /** Highest level of a row. */
  levelOf(row: number): number {
    const at = this.#arena.u32[this.parts.upperAt / 4 + row]!;
    return at === NONE ? 0 : this.#arena.u32[this.parts.upper / 4 + at]!;
  }

  /** True if a row is linked on level 0. */
  hasLinks(row: number): boolean {
    return this.#arena.u32[this.parts.links / 4 + row * 2 * this.shape.m] !== NONE;
  }

  get memoryBytes(): number {
    const { rows, m, stride, upperWords } = this.shape;
    return WORDS * 4 + (this.isBorrowed ? 0 : rows * stride) + rows * (m * 8 + 4) + upperWords * 4;
  }

  release(): void {
    this.endBuilding();
    for (const at of this.#owned.splice(0)) this.#arena.free(at);
  }
}

/** Level of a row: geometric with base M (Malkov and Yashunin, mL = 1 / ln M), the same for the same row and count of rows. */
export function levelOf(row: number, m: number): number {
  let mixed = Math.imul(row ^ 0x9e37_79b9, 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x27d4_eb2f);
  const uniform = (((mixed ^ (mixed >>> 15)) >>> 0) + 1) / 2 ** 32;
  return Math.min(MAX_LEVEL, Math.floor(-Math.log(uniform) / Math.log(m)));
}

/** With M = 2 and 2³¹ rows level 31 is to be expected; a graph has no use for more. */
export const MAX_LEVEL = 31;
