// Scratch of the searches and builders of one arena: they are synchronous, so they take turns with it.
// Guarantees: what a slot holds is valid until it is reserved again. Must not: be kept across turns, or shrink while it is in use.

import type { Arena, Pointer } from "./arena.ts";

const SLOTS = [
  "marks",
  "pool",
  "candidates",
  "rowQuery",
  "query",
  "heap",
  "out",
  "piece",
  "rows",
  "joined",
  "space",
  "table",
  "live",
  "kept",
  "marked",
  "order",
  "allowedRows",
  "deletedRows",
  "reducing",
  "reducedQuery",
] as const;
type Slot = (typeof SLOTS)[number];

/** Words of the workspace as wasm/vector/hnsw-graph.ts reads them. */
const WORDS = 16;
/** Keys are written in pairs of registers, a little past the last one. */
const SPARE_BYTES = 64;

interface Extent {
  at: Pointer;
  bytes: number;
}

export class Workspace {
  readonly #arena: Arena;
  readonly #slots = new Map<Slot, Extent>();
  #header: Pointer = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Bytes of the arena that it holds. */
  get memoryBytes(): number {
    let sum = this.#header === 0 ? 0 : WORDS * 4;
    for (const { bytes } of this.#slots.values()) sum += bytes;
    return sum;
  }

  /** At least `bytes` under a name; their content is lost when they have to grow. @throws ArenaFull */
  reserve(slot: Slot, bytes: number): Pointer {
    const held = this.#slots.get(slot);
    if (held !== undefined && held.bytes >= bytes) return held.at;
    if (held !== undefined) {
      this.#slots.delete(slot);
      this.#arena.free(held.at);
    }
    const size = bytes + SPARE_BYTES;
    const at = this.#arena.allocate(size, { zeroed: slot === "marks" });
    this.#slots.set(slot, { at, bytes: size });
    return at;
  }

  /** The words that walks through a graph of `rows` rows need, with pools of `keys` keys. @throws ArenaFull */
  forWalk({ rows, keys, codeBytes }: { readonly rows: number; readonly keys: number; readonly codeBytes: number }) {
    if (this.#header === 0) this.#header = this.#arena.allocate(WORDS * 4, { zeroed: true });
    const marksBefore = this.#slots.get("marks")?.at;
    const marks = this.reserve("marks", rows);
    const pool = this.reserve("pool", keys * 8);
    const candidates = this.reserve("candidates", keys * 8);
    const rowQuery = this.reserve("rowQuery", codeBytes * 2);
    const words = this.#arena.words(this.#header, WORDS);
    if (marks !== marksBefore) words[2] = 0;
    words[0] = marks;
    words[1] = this.#slots.get("marks")!.bytes;
    words[3] = pool;
    words[4] = candidates;
    words[5] = keys;
    words[6] = rowQuery;
    return this.#header;
  }

  /** Gives everything back; it may be used again. */
  release(): void {
    for (const { at } of this.#slots.values()) this.#arena.free(at);
    this.#slots.clear();
    if (this.#header !== 0) this.#arena.free(this.#header);
    this.#header = 0;
  }
}
