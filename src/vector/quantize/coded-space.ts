// The space that codes are made in: rows as float-form.ts compares them by squared distance, filled up with zeros, rotated (for 1-bit
// codes), and moved so that the mean of the rows is at the origin. Distances in it are those before.

import type { Pointer } from "../arena.ts";
import { copyInto, type FloatMap, floatQuery } from "../index/float-form.ts";
import { PIECE_BYTES } from "../index/limits.ts";
import { forEachPiece } from "../index/row-pieces.ts";
import type { PreparedQuery, Rows } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import { paddedLength, rotationSigns, rotationWindow } from "./rotation.ts";

export interface SpaceShape {
  readonly map: FloatMap;
  /** Of the rotation; undefined = none. */
  readonly seed: number | undefined;
}

/** Values of a vector in the space. */
export function spaceLength({ metric, dimension }: Pick<FloatMap, "metric" | "dimension">): number {
  return paddedLength(metric === "dot" ? dimension + 1 : dimension);
}

export class CodedSpace {
  readonly #core: VectorCore;
  readonly shape: SpaceShape;
  /** Values and bytes of a vector. */
  readonly length: number;
  readonly bytes: number;
  readonly #signs: Pointer;
  readonly #signBytes: number;

  /** @throws ArenaFull */
  constructor(core: VectorCore, shape: SpaceShape) {
    this.#core = core;
    this.shape = shape;
    this.length = spaceLength(shape.map);
    this.bytes = this.length * 4;
    const signs = shape.seed === undefined ? undefined : rotationSigns(this.length, shape.seed);
    this.#signBytes = signs?.byteLength ?? 0;
    this.#signs = signs === undefined ? 0 : core.arena.allocate(signs.byteLength);
    if (signs !== undefined) core.arena.f32.set(signs, this.#signs / 4);
  }

  get memoryBytes(): number {
    return this.#signBytes;
  }

  /** Rows that fit a piece of the workspace. */
  get pieceRows(): number {
    return Math.max(1, Math.floor(PIECE_BYTES / this.bytes));
  }

  /** Visits rows `from`..`to - 1` in the space, in pieces that are valid during the visit. `centre` 0: before it is subtracted. */
  forEachPiece(
    rows: Rows,
    { from, to, centre }: { readonly from: number; readonly to: number; readonly centre: Pointer },
    visit: (piece: { readonly at: Pointer; readonly first: number; readonly count: number }) => void,
  ): void {
    for (let first = from; first < to; first += this.pieceRows) {
      const end = Math.min(to, first + this.pieceRows);
      forEachPiece(this.#core, rows, { from: first, to: end }, (piece) => {
        const at = this.#core.workspace.reserve("space", this.pieceRows * this.bytes);
        copyInto(this.#core, this.shape.map, piece, { at, stride: this.bytes });
        this.#rotate(at, piece.count, centre);
        visit({ at, first: piece.first, count: piece.count });
      });
    }
  }

  /** A query in the space, in the workspace. Distance = squared distance × scale + offset. */
  query(
    query: PreparedQuery,
    centre: Pointer,
  ): { readonly at: Pointer; readonly scale: number; readonly offset: number } {
    const { workspace, arena } = this.#core;
    const { at: from, scale, offset } = floatQuery(this.#core, this.shape.map, query);
    const at = workspace.reserve("space", Math.max(this.pieceRows, 1) * this.bytes);
    const used = this.shape.map.metric === "dot" ? this.shape.map.dimension + 1 : this.shape.map.dimension;
    arena.f32.fill(0, at / 4, at / 4 + this.length);
    arena.f32.copyWithin(at / 4, from / 4, from / 4 + used);
    this.#rotate(at, 1, centre);
    return { at, scale, offset };
  }

  #rotate(at: Pointer, count: number, centre: Pointer): void {
    this.#core.kernels.rotateRows(at, count, this.length, rotationWindow(this.length), this.#signs, centre);
  }

  release(): void {
    if (this.#signs !== 0) this.#core.arena.free(this.#signs);
  }
}
