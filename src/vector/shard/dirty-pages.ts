// Pages of segments' deleted rows that differ from what is stored.
import type { Segment } from "../segment/segment.ts";
import { DELETED_PAGE_WORDS } from "./limits.ts";
import type { Manifest } from "./manifest.ts";

export class DirtyPages {
  readonly #pages = new Map<Segment, Set<number>>();

  /** A row of it was deleted. */
  add(segment: Segment, row: number): void {
    const page = Math.floor(row / 32 / DELETED_PAGE_WORDS);
    const pages = this.#pages.get(segment);
    if (pages) pages.add(page);
    else this.#pages.set(segment, new Set([page]));
  }

  /** It is no longer in the manifest. */
  forget(segment: Segment): void {
    this.#pages.delete(segment);
  }

  /** In a transaction. */
  store(manifest: Manifest): void {
    for (const [segment, pages] of this.#pages)
      for (const page of pages) manifest.storeDeleted(segment.number, page, segment.deleted);
    this.#pages.clear();
  }
}
