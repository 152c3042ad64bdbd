// Which values of an open shard lie in its own storage, and which in the blob store: moved by the alarm, fetched for reads, brought back.
// Guarantees: a read whose values cannot be fetched is answered `unavailable`, and holds up no other; a segment whose values something is
// made of stays. Must not: know rows.
import type { Settings } from "../src/cluster/settings.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import { AwayBlocks } from "../src/vector/segment/away.ts";
import { CorruptSegment } from "../src/vector/segment/directory.ts";
import type { Segment } from "../src/vector/segment/segment.ts";
import {
  type HeatBounds,
  isTiered,
  leaving,
  nextLeavingMs,
  returning,
  type SegmentHeat,
  type Span,
  spansOf,
} from "../src/vector/shard/heat.ts";
import {
  FETCH_DEADLINE_MS,
  FETCH_GAP_BYTES,
  FETCH_PAUSE_MS,
  FETCH_TRIES,
  FETCHED_BYTES,
  FETCHES_AT_ONCE,
  HEAT_NOTE_MS,
  HEAT_NOTE_SHARE,
  RETURN_FETCHES,
  THAW_TRIES,
} from "../src/vector/shard/limits.ts";
import type { Ran, ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { TieredBlobs } from "../src/vector/shard/tiered-blobs.ts";
import type { VectorFailure } from "../src/wire/vector.ts";
import type { ShardCold } from "./shard-cold.ts";
import { COLD_AWAY, COLD_DAMAGED } from "./shard-refusals.ts";
import type { VectorFacts } from "./vector-facts.ts";
import { withDeadline } from "./with-deadline.ts";

/** Where the blob store did not answer, nothing is moved for so long. Ms. */
const MOVE_RETRY_MS = 60_000;

/** What the deployment's settings say of it. */
export function heatBoundsOf({ coldAfterHours, hotMiB }: Settings["vectors"]): HeatBounds {
  return { coldAfterMs: coldAfterHours * 3_600_000, hotBytes: hotMiB * 1024 * 1024 };
}

export interface ShardTierOptions {
  readonly log: Logger;
  readonly cold: ShardCold;
  readonly facts: VectorFacts;
  /** Undefined = there is no blob store. */
  readonly bounds: HeatBounds | undefined;
  readonly now: () => number;
  readonly desk: () => ShardDesk | undefined;
  readonly tiered: () => TieredBlobs | undefined;
  /** Something is made of its values. */
  readonly isMerging: (segment: Segment) => boolean;
  /** What waited for values may go on. */
  readonly onReturned: () => void;
  readonly wakeAt: (atMs: number) => void;
}

/** What is known of a segment's reads. */
interface Note {
  readAtMs: number;
  /** Of Segment.valueReads, when that was looked at last. */
  reads: number;
  fetches: number;
}

export class ShardTier {
  readonly #options: ShardTierOptions;
  readonly #notes = new Map<number, Note>();
  #storedAtMs = 0;
  #storeDue = false;
  #pausedUntilMs = 0;
  #movesAtMs = 0;
  /** Those that are wanted here, and their way back. */
  readonly #returning = new Map<Segment, Promise<void>>();
  /** They do not leave: something of them is damaged here. */
  readonly #stuck = new WeakSet<Segment>();
  /** The manifest whose snapshots' blobs were looked at last. */
  #heldOf: readonly [ShardDesk | undefined, number] = [undefined, 0];

  constructor(options: ShardTierOptions) {
    this.#options = options;
  }

  /** A shard was opened. */
  opened(): void {
    this.#notes.clear();
    this.#storeDue = false;
    for (const [number, readAtMs] of this.#stored()) this.#notes.set(number, { readAtMs, reads: 0, fetches: 0 });
    // What opening reads is no use.
    for (const { number, valueReads } of this.#options.desk()?.store.sealed ?? []) {
      const note = this.#notes.get(number);
      if (note) note.reads = valueReads;
    }
    this.#storedAtMs = this.#options.now();
    this.look();
  }

  /** Damaged, it is as if nothing was noted. */
  #stored(): readonly (readonly [number: number, readAtMs: number])[] {
    if (!this.#isOn) return [];
    try {
      return JSON.parse(this.#options.facts.get("heat") ?? "[]") as [number, number][];
    } catch (error) {
      this.#options.log.warn("when values of a vector shard were read is damaged, and forgotten", {}, error);
      return [];
    }
  }

  get #isOn(): boolean {
    const { bounds } = this.#options;
    return bounds !== undefined && isTiered(bounds);
  }

  /** Runs a call, as often as something must be fetched for it. */
  async run(work: () => Ran | Promise<Ran>): Promise<Ran> {
    for (let tries = 1; ; tries++) {
      try {
        const ran = await work();
        this.#note();
        return ran;
      } catch (error) {
        if (!(error instanceof AwayBlocks)) throw error;
        const failure = await this.fetch(error, tries);
        if (failure) return { answer: failure, durability: "sync" };
      }
    }
  }

  /** The same for what is no call. @throws where it cannot be fetched */
  async here<T>(work: () => T | Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof AwayBlocks)) throw error;
        const failure = await this.fetch(error, tries);
        if (failure) throw new Error(failure.message);
      }
    }
  }

  /** A check. What does not fit its checksum is fetched again: it may have been changed on its way only. */
  async checked<T extends { readonly damaged?: unknown } | null>(check: () => T): Promise<T> {
    for (let tries = 1; ; tries++) {
      const found = await this.here(check);
      if (!found?.damaged || tries === THAW_TRIES || !this.#options.tiered()?.forgetAll()) return found;
    }
  }

  /** Undefined = it is here now, for the next read. */
  async fetch({ ranges }: AwayBlocks, tries = 1): Promise<VectorFailure | undefined> {
    const { now, desk, tiered, log } = this.#options;
    const blobs = tiered();
    if (!blobs || now() < this.#pausedUntilMs || tries > 2 * FETCH_TRIES) return COLD_AWAY;
    const lacking = ranges.filter((range) => blobs.away.lacks(range));
    const names = new Set(lacking.map(({ blob }) => blob));
    const segments = (desk()?.store.sealed ?? []).filter(({ valueBlobs }) =>
      valueBlobs.some((name) => names.has(name)),
    );
    const counts = segments.map((segment) => ++this.#noteOf(segment).fetches);
    if (counts.includes(RETURN_FETCHES)) this.look();
    const spans = spansOf(lacking, FETCH_GAP_BYTES);
    const bytes = spans.reduce((sum, { from, to }) => sum + to - from, 0);
    const isMuch = segments.length > 0 && (bytes > FETCHED_BYTES / 2 || tries > FETCH_TRIES);
    try {
      const work = isMuch ? this.#bringBack(segments) : this.#load(blobs, spans);
      await withDeadline(work, FETCH_DEADLINE_MS, "the blob store");
      return undefined;
    } catch (error) {
      log.error("values of a vector shard could not be fetched from the blob store", { blobs: names.size }, error);
      // It cannot come back as it was.
      if (error instanceof CorruptSegment) return COLD_DAMAGED;
      this.#pausedUntilMs = now() + FETCH_PAUSE_MS;
      return COLD_AWAY;
    }
  }

  async #load(blobs: TieredBlobs, spans: readonly Span[]): Promise<void> {
    const left = [...spans];
    const loadNext = async (): Promise<void> => {
      for (let span = left.pop(); span; span = left.pop()) {
        const { blob, from, to } = span;
        const bytes = await this.#options.cold.range(blob, from, to);
        if (bytes) blobs.keep(blob, from, bytes);
        else if (blobs.away.has(blob)) blobs.lose(blob);
      }
    };
    await Promise.all(Array.from({ length: Math.min(FETCHES_AT_ONCE, left.length) }, loadNext));
  }

  /** What was fetched of a damaged block is fetched again. False = it is no blob of the blob store. */
  again(blob: string): boolean {
    const blobs = this.#options.tiered();
    if (!blobs?.away.has(blob)) return false;
    blobs.forget(blob);
    return true;
  }

  /** Behind what asks for it, and again after a while where it does not come. */
  bringBackSoon(segments: readonly Segment[]): void {
    if (this.#options.now() < this.#movesAtMs) return;
    this.#bringBack(segments).catch((error: unknown) => {
      this.#moveLater("values of a vector shard could not be brought back from the blob store", error);
    });
  }

  async #bringBack(segments: readonly Segment[]): Promise<void> {
    await Promise.all(
      segments.map((segment) => {
        const under = this.#returning.get(segment);
        if (under) return under;
        const way = this.#bringOneBack(segment).finally(() => this.#returning.delete(segment));
        this.#returning.set(segment, way);
        return way;
      }),
    );
  }

  async #bringOneBack(segment: Segment): Promise<void> {
    const { tiered, cold, desk, now, onReturned } = this.#options;
    for (const name of segment.valueBlobs)
      if (tiered()?.away.has(name)) await cold.move((blobs) => blobs.bringBack(name));
    const open = desk();
    if (!open?.store.sealed.includes(segment)) return;
    Object.assign(this.#noteOf(segment), { readAtMs: now(), fetches: 0 });
    open.indexes.isSettled = false;
    onReturned();
  }

  #noteOf(segment: Segment): Note {
    const { number, valueReads } = segment;
    const held = this.#notes.get(number);
    if (held) return held;
    const note = { readAtMs: this.#options.now(), reads: valueReads, fetches: 0 };
    this.#notes.set(number, note);
    this.#storeDue = true;
    return note;
  }

  /** Who was read lately; written down now and then. */
  #note(): void {
    const desk = this.#options.desk();
    if (!desk || !this.#isOn) return;
    const nowMs = this.#options.now();
    for (const segment of desk.store.sealed) {
      const note = this.#noteOf(segment);
      if (note.reads === segment.valueReads) continue;
      Object.assign(note, { reads: segment.valueReads, readAtMs: nowMs });
      this.#storeDue = true;
    }
    const everyMs = Math.max(HEAT_NOTE_MS, this.#options.bounds!.coldAfterMs * HEAT_NOTE_SHARE);
    if (this.#storeDue && nowMs - this.#storedAtMs >= everyMs) this.#store(desk);
  }

  #store({ store }: ShardDesk): void {
    const numbers = new Set(store.sealed.map(({ number }) => number));
    for (const number of this.#notes.keys()) if (!numbers.has(number)) this.#notes.delete(number);
    const heat = [...this.#notes].map(([number, { readAtMs }]) => [number, readAtMs]);
    this.#options.facts.set("heat", JSON.stringify(heat));
    this.#storedAtMs = this.#options.now();
    this.#storeDue = false;
  }

  #mayLeave(desk: ShardDesk, segment: Segment): boolean {
    if (this.#options.desk() !== desk || !desk.store.sealed.includes(segment)) return false;
    if (this.#returning.has(segment) || this.#stuck.has(segment) || this.#options.isMerging(segment)) return false;
    return desk.indexes.needsNoValues(segment);
  }

  #heats(desk: ShardDesk): readonly SegmentHeat[] {
    this.#note();
    return desk.store.sealed.map((segment) => {
      const { readAtMs, fetches } = this.#noteOf(segment);
      const { hot, cold } = segment.valueBytes();
      const mayLeave = this.#mayLeave(desk, segment);
      return { number: segment.number, hotBytes: hot, coldBytes: cold, readAtMs, fetches, mayLeave };
    });
  }

  /** The alarm is set for what leaves next, or comes back. */
  look(): void {
    const { desk: deskNow, bounds, cold, now, wakeAt } = this.#options;
    const desk = deskNow();
    if (!desk || !bounds) return;
    const heats = this.#isOn ? this.#heats(desk) : [];
    const isHeldDue = this.#isOn && this.#isHeldDue(desk);
    const isDue = isHeldDue || cold.hasDead || returning(heats, bounds).length > 0;
    const dueMs = isDue ? now() : nextLeavingMs(heats, bounds, now());
    if (dueMs !== undefined) wakeAt(Math.max(dueMs, this.#movesAtMs));
  }

  #isHeldDue({ store }: ShardDesk): boolean {
    const [of, version] = this.#heldOf;
    return (
      (of !== this.#options.desk() || version !== store.manifestVersion) && store.snapshots.heldValues().length > 0
    );
  }

  /** What is due leaves, what is wanted again comes back. What does not get where it should stays, and is tried again. */
  async alarm(): Promise<void> {
    const { cold, log, now, wakeAt } = this.#options;
    try {
      await cold.cool();
    } catch (error) {
      log.error("what is archived of a shard could not be moved to the blob store; tried again", {}, error);
      wakeAt(now() + MOVE_RETRY_MS);
    }
    await this.#move();
    this.look();
  }

  async #move(): Promise<void> {
    const { desk: deskNow, bounds, now } = this.#options;
    const desk = deskNow();
    if (!desk || !bounds || now() < this.#movesAtMs) return;
    try {
      for (let due = this.#nextLeaving(desk, bounds); due; due = this.#nextLeaving(desk, bounds))
        await this.#lend(desk, due);
      if (this.#isOn) await this.#lendHeld(desk);
      const back = new Set(returning(this.#heats(desk), bounds));
      await this.#bringBack(desk.store.sealed.filter(({ number }) => back.has(number)));
      if (this.#storeDue && deskNow() === desk) this.#store(desk);
    } catch (error) {
      this.#moveLater("values of a vector shard could not be moved to the blob store or back", error);
    }
  }

  #moveLater(what: string, error: unknown): void {
    const { log, now, wakeAt } = this.#options;
    this.#movesAtMs = now() + MOVE_RETRY_MS;
    log.error(`${what}; tried again`, {}, error);
    wakeAt(this.#movesAtMs);
  }

  #nextLeaving(desk: ShardDesk, bounds: HeatBounds): Segment | undefined {
    if (this.#options.desk() !== desk) return undefined;
    const [number] = leaving(this.#heats(desk), bounds, this.#options.now());
    return number === undefined ? undefined : desk.store.sealed.find((segment) => segment.number === number);
  }

  async #lend(desk: ShardDesk, segment: Segment): Promise<void> {
    const { tiered, cold } = this.#options;
    const mayLeave = (): boolean => this.#mayLeave(desk, segment);
    this.#noteOf(segment).fetches = 0;
    for (const name of segment.valueBlobs) {
      if (!mayLeave()) return;
      if (tiered()?.away.has(name) || (await cold.move((blobs) => blobs.lend(name, mayLeave)))) continue;
      if (mayLeave()) this.#stuck.add(segment);
    }
  }

  /** What only snapshots name is read by nobody else. */
  async #lendHeld(desk: ShardDesk): Promise<void> {
    const { desk: deskNow, tiered, cold } = this.#options;
    const { store } = desk;
    this.#heldOf = [desk, store.manifestVersion];
    for (const name of store.snapshots.heldValues()) {
      const mayLeave = (): boolean => deskNow() === desk && store.snapshots.heldValues().includes(name);
      if (!tiered()?.away.has(name)) await cold.move((blobs) => blobs.lend(name, mayLeave));
    }
  }
}
