// Rows of a segment that an index does not hold, as a bitmap that joins the deleted ones.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import { bitmapBytes } from "./segment-index.ts";

export class Quarantine {
  readonly #core: VectorCore;
  readonly #bytes: number;
  readonly rows: readonly number[];
  #at: Pointer = 0;

  /** @throws ArenaFull */
  constructor(core: VectorCore, count: number, rows: readonly number[]) {
    this.#core = core;
    this.#bytes = bitmapBytes(count);
    this.rows = rows;
    if (rows.length === 0) return;
    this.#at = core.arena.allocate(this.#bytes, { zeroed: true });
    const words = core.arena.words(this.#at, this.#bytes / 4);
    for (const row of rows) words[row >> 5]! |= 1 << (row & 31);
  }

  get memoryBytes(): number {
    return this.#at === 0 ? 0 : this.#bytes;
  }

  /** The bitmap of the rows that must not be given. Valid until the next call. */
  join(deleted: Pointer): Pointer {
    if (this.#at === 0 || deleted === 0) return deleted === 0 ? this.#at : deleted;
    const { arena, workspace } = this.#core;
    const joined = workspace.reserve("joined", this.#bytes);
    const [out, bad, gone] = [joined, this.#at, deleted].map((at) => arena.words(at, this.#bytes / 4));
    for (let i = 0; i < out!.length; i++) out![i] = bad![i]! | gone![i]!;
    return joined;
  }

  release(): void {
    if (this.#at !== 0) this.#core.arena.free(this.#at);
    this.#at = 0;
  }
}
