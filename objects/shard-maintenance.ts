// What a shard of vectors does behind calls: seals, merges, indexes, sweeps, a slice a turn.
// Guarantees: one thing at a time; steady writes hold up neither merges nor index builds. Must not: change what reads show.
import type { Logger } from "../src/telemetry/logger.ts";
import { CorruptSegment } from "../src/vector/segment/directory.ts";
import type { Segment } from "../src/vector/segment/segment.ts";
import type { BehindSearches } from "../src/vector/shard/behind-searches.ts";
import { mergeDue } from "../src/vector/shard/merge-policy.ts";
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { VectorStore } from "../src/vector/shard/vector-store.ts";

export interface ShardMaintenanceOptions {
  readonly log: Logger;
  readonly behind: BehindSearches;
  /** Undefined = there is no shard. */
  readonly desk: () => ShardDesk | undefined;
  /** From another copy; true = it is right again. */
  readonly heal: (error: CorruptSegment) => Promise<boolean>;
  /** What they are made of is in the blob store: brings it back, and goes on then. */
  readonly bringBack: (segments: readonly Segment[]) => void;
  readonly onBegun: () => void;
  readonly onDone: () => void;
}

export class ShardMaintenance {
  readonly #options: ShardMaintenanceOptions;
  #isRunning = false;
  /** Merges and index builds take turns, so that steady writes hold up neither. */
  #hasMerged = false;
  /** Segments with rows that cannot be read: merging them would lose what can be. */
  readonly #damaged = new WeakSet<Segment>();
  #merging: readonly Segment[] = [];

  constructor(options: ShardMaintenanceOptions) {
    this.#options = options;
  }

  /** Its values are being read. */
  isMerging(segment: Segment): boolean {
    return this.#merging.includes(segment);
  }

  /** Begins what is due. */
  goOn(): void {
    const desk = this.#options.desk();
    if (this.#isRunning || !desk) return;
    const work = this.#workDue(desk);
    if (!work) return;
    this.#options.onBegun();
    this.#isRunning = true;
    const slice = (): void => {
      // Configured anew or erased meanwhile: what was begun is forgotten, its blobs are swept at the next start.
      if (this.#options.desk() !== desk) {
        this.#merging = [];
        return this.#finish(true);
      }
      try {
        if (work.next().done) return this.#finish(true);
      } catch (error) {
        this.#options.log.error("maintenance of a vector shard failed", {}, error);
        return this.#finish(error instanceof CorruptSegment);
      }
      this.#options.behind.add("upkeep", slice);
    };
    this.#options.behind.add("upkeep", slice);
  }

  #finish(goOn: boolean): void {
    this.#isRunning = false;
    this.#options.onDone();
    if (goOn) this.goOn();
  }

  #workDue(desk: ShardDesk): Iterator<void, void> | undefined {
    const { store } = desk;
    if (store.sealDue) return store.seal();
    const due = mergeDue(
      store.sealed.filter((segment) => !this.#damaged.has(segment)),
      desk.mostDeletedShare,
    );
    const inputs = this.#hereOf(desk, due);
    if (inputs && !this.#hasMerged) return this.#merge(desk, inputs);
    this.#hasMerged = false;
    const indexing = store.indexing();
    if (indexing) return besideSeals(store, indexing);
    if (inputs) return this.#merge(desk, inputs);
    return store.sweepDue ? sweeps(desk) : undefined;
  }

  /** A merge waits for values that are away; so does an index. */
  #hereOf({ store, indexes }: ShardDesk, due: readonly Segment[] | undefined): readonly Segment[] | undefined {
    const away = store.sealed.filter((segment) => segment.isAway);
    if (away.length === 0) return due;
    const lacking = indexes.nextToBuild(away);
    const awaited = away.filter((segment) => segment === lacking?.segment || due?.includes(segment));
    if (awaited.length > 0) this.#options.bringBack(awaited);
    return due?.some((segment) => away.includes(segment)) ? undefined : due;
  }

  *#merge({ store }: ShardDesk, inputs: readonly Segment[]): Generator<void, void> {
    this.#hasMerged = true;
    this.#merging = inputs;
    try {
      yield* besideSeals(store, store.merge(inputs));
    } catch (error) {
      if (error instanceof CorruptSegment) {
        for (const input of inputs) this.#damaged.add(input);
        void this.#mergeLater(inputs, error);
      }
      throw error;
    } finally {
      this.#merging = [];
    }
  }

  async #mergeLater(inputs: readonly Segment[], error: CorruptSegment): Promise<void> {
    if (!(await this.#options.heal(error))) return;
    for (const input of inputs) this.#damaged.delete(input);
    this.goOn();
  }
}

/** Rows that come meanwhile must not wait for a merge or an index of a million others. */
function* besideSeals(store: VectorStore, work: Generator<void, void>): Generator<void, void> {
  for (const slice of work) {
    if (store.sealDue) yield* store.seal();
    yield slice;
  }
}

function* sweeps({ store }: ShardDesk): Generator<void, void> {
  while (store.sweep()) yield;
}
