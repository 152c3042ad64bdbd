// IVF over float32 rows or int8 codes, and LSH over any: a selector says which rows may be near, an exact or coded scan compares those
// alone. Few live rows are all scanned, and so are all live rows where the selector finds fewer than were asked for.

import type { VectorCore } from "../kernels.ts";
import { MIN_WALK_ROWS } from "./limits.ts";
import type { RowSelector } from "./row-selector.ts";
import { bytesSection, type SavedIndex } from "./sections.ts";
import {
  bitmapBytes,
  type Found,
  type IndexBuilder,
  type IndexLoader,
  type IndexSection,
  type PreparedQuery,
  type SearchAsk,
  type SegmentIndex,
} from "./segment-index.ts";

/** A selector and the FLAT index that compares what it selects. */
export class BucketedIndex implements SegmentIndex {
  readonly #core: VectorCore;
  readonly kind: "IVF" | "LSH";
  readonly selector: RowSelector;
  readonly #scan: SegmentIndex;

  constructor(core: VectorCore, kind: "IVF" | "LSH", parts: { selector: RowSelector; scan: SegmentIndex }) {
    this.#core = core;
    this.kind = kind;
    this.selector = parts.selector;
    this.#scan = parts.scan;
  }

  get count(): number {
    return this.selector.count;
  }

  get memoryBytes(): number {
    return this.selector.memoryBytes + this.#scan.memoryBytes;
  }

  search(query: PreparedQuery, ask: SearchAsk): Found {
    const { kernels, workspace, arena } = this.#core;
    const { k, effort, allowed = 0, deleted = 0 } = ask;
    const live = kernels.countLive(allowed, deleted, this.count) >>> 0;
    if (live <= Math.max(MIN_WALK_ROWS, 2 * k)) return this.#scan.search(query, ask);
    const bytes = bitmapBytes(this.count);
    const marked = workspace.reserve("marked", bytes);
    arena.words(marked, bytes / 4).fill(0);
    const selected = this.selector.select(query, { probes: effort.probes, least: k, allowed, deleted, marked });
    if (selected < k) return this.#scan.search(query, ask);
    const found = this.#scan.search(query, { k, effort, allowed: marked });
    return { ...found, plan: this.kind === "IVF" ? "lists" : "buckets" };
  }

  /** The header of the scan's codes stands behind that of the selector. */
  save(): readonly IndexSection[] {
    const [first, ...others] = this.selector.save();
    const [scanFirst, ...scanOthers] = this.#scan.save();
    const own = first!.read(0, first!.byteLength);
    const header = scanFirst === undefined ? own : joined(own, scanFirst.read(0, scanFirst.byteLength));
    return [bytesSection(first!.name, header), ...others, ...scanOthers];
  }

  release(): void {
    this.selector.release();
    this.#scan.release();
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** The two headers of a saved index apart. */
export function splitHeader(
  saved: SavedIndex,
  ownBytes: number,
): { readonly own: SavedIndex; readonly scan: SavedIndex } {
  const { header, lengths } = saved;
  return {
    own: { header: header.subarray(0, ownBytes), lengths },
    scan: { header: header.subarray(ownBytes), lengths },
  };
}

type SelectorBuilder = Omit<IndexBuilder, "finish"> & { finish(): RowSelector };

/** Builds one after the other. */
export class BucketedBuilder implements IndexBuilder {
  readonly #core: VectorCore;
  readonly #kind: "IVF" | "LSH";
  readonly #selector: SelectorBuilder;
  readonly #scan: IndexBuilder;
  #isSelected = false;

  constructor(core: VectorCore, kind: "IVF" | "LSH", parts: { selector: SelectorBuilder; scan: IndexBuilder }) {
    this.#core = core;
    this.#kind = kind;
    this.#selector = parts.selector;
    this.#scan = parts.scan;
  }

  get quarantined(): readonly number[] {
    return this.#selector.quarantined;
  }

  get progress(): number {
    return (this.#selector.progress + this.#scan.progress) / 2;
  }

  needs(budget: { readonly rows: number }): { readonly from: number; readonly to: number } {
    return this.#isSelected ? this.#scan.needs(budget) : this.#selector.needs(budget);
  }

  step(budget: { readonly rows: number }): boolean {
    if (this.#isSelected) return this.#scan.step(budget);
    this.#isSelected = this.#selector.step(budget);
    return false;
  }

  finish(): SegmentIndex {
    const scan = this.#scan.finish();
    try {
      return new BucketedIndex(this.#core, this.#kind, { selector: this.#selector.finish(), scan });
    } catch (error) {
      scan.release();
      throw error;
    }
  }

  abandon(): void {
    this.#selector.abandon();
    this.#scan.abandon();
  }
}

/** Loads both; `scan` is a loader, or what needs none because it was made of the rows. */
export function bucketedLoader(
  core: VectorCore,
  kind: "IVF" | "LSH",
  parts: {
    readonly selector: Omit<IndexLoader, "finish"> & { finish(): RowSelector };
    readonly scan: IndexLoader | SegmentIndex;
  },
): IndexLoader {
  const { selector, scan } = parts;
  const drop = (): void => ("abandon" in scan ? scan.abandon() : scan.release());
  return {
    targets: [...selector.targets, ...("targets" in scan ? scan.targets : [])],
    abandon: () => {
      selector.abandon();
      drop();
    },
    finish: () => {
      let loaded: RowSelector;
      try {
        loaded = selector.finish();
      } catch (error) {
        drop();
        throw error;
      }
      try {
        return new BucketedIndex(core, kind, { selector: loaded, scan: "finish" in scan ? scan.finish() : scan });
      } catch (error) {
        loaded.release();
        throw error;
      }
    },
  };
}
