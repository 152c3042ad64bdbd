// Blocks of a segment that lie in the blob store and not in the object, and what reads of them do.
// Guarantees: such a read throws before anything was changed, and names all that it needs, as far as it can tell: it is fetched at once, and the
// read is run again. Must not: fetch.
import type { SyncBlobStore } from "../../storage/types.ts";

export interface BlobRange {
  readonly blob: string;
  readonly offset: number;
  readonly bytes: number;
}

/** What must be fetched before the same read is run again. */
export class AwayBlocks extends Error {
  override readonly name = "AwayBlocks";
  readonly ranges: readonly BlobRange[];

  constructor(ranges: readonly BlobRange[]) {
    super(`${ranges.length} blocks are in the blob store`);
    this.ranges = ranges;
  }
}

export interface AwayBlobs {
  readonly isAny: boolean;
  /** It is in the blob store, whatever of it was fetched. */
  has(blob: string): boolean;
  /** It would have to be fetched. */
  lacks(range: BlobRange): boolean;
}

/** Where segments read their blocks from. */
export interface SegmentBlobs extends Pick<SyncBlobStore, "getSync"> {
  /** Absent = all are here. */
  readonly away?: AwayBlobs;
}

/** Several reads: what is away of all of them is asked for at once. */
export class AwayGathering {
  readonly #ranges: BlobRange[] = [];

  /** Undefined = something of it is away; `end` throws then. */
  try<T>(run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof AwayBlocks)) throw error;
      this.#ranges.push(...error.ranges);
      return undefined;
    }
  }

  /** @throws AwayBlocks */
  end(): void {
    if (this.#ranges.length > 0) throw new AwayBlocks(this.#ranges);
  }
}

/** @throws AwayBlocks with what all of them need */
export function forAll<T, R>(items: Iterable<T>, run: (item: T) => R): R[] {
  const away = new AwayGathering();
  const done: R[] = [];
  for (const item of items) away.try(() => done.push(run(item)));
  away.end();
  return done;
}

/** In slices: yields what must be fetched, until it is here. */
export function* whenHere<T>(run: () => T): Generator<AwayBlocks, T> {
  for (;;) {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof AwayBlocks)) throw error;
      yield error;
    }
  }
}

export function* numbersFrom(from: number, to: number): Generator<number, void> {
  for (let number = from; number < to; number++) yield number;
}
