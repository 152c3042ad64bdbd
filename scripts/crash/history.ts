// What one writer knows of its key, and whether a read agrees: the checker of the crash runs.
// Guarantees: says "lost" when the newest acknowledged write is gone with nothing later in its place, "back" when a value or a delete
// that an acknowledged write superseded shows again, "doubled" when one write shows twice, "wrong" for any value nobody wrote.
// A write whose outcome is unknown may show or not, now and later. Must not: be used for keys with more than one writer.

import { includes } from "../../src/kv/clock.ts";
import { type ClockMap, clockFromMap } from "../../src/wire/clock.ts";

export interface WriteOp {
  readonly id: string;
  /** Undefined = a delete. */
  readonly value: string | undefined;
}

interface Acknowledged extends WriteOp {
  /** Of its answer: what the write superseded, and itself. */
  readonly clock: ClockMap | undefined;
}

/** What a quorum read showed: every concurrent version; a missing key and a delete are both `undefined`. */
export type Shown = readonly (string | undefined)[];

export interface ReadLike {
  readonly found: boolean;
  readonly conflict: boolean;
  readonly value: unknown;
  readonly siblings: readonly { readonly value: unknown }[];
}

export function shownBy(read: ReadLike): Shown {
  if (!read.found) return [undefined];
  const all = read.conflict ? read.siblings.map(({ value }) => value) : [read.value];
  return all.map((value) => (value === undefined ? undefined : String(value)));
}

export class KeyHistory {
  readonly key: string;
  /** The newest acknowledged write. */
  acknowledged: Acknowledged | undefined;
  /** Issued after it, with an outcome that is not known and never will be. */
  #later: WriteOp[] = [];
  /** Issued before it, with an unknown outcome: may stand beside it as a concurrent version. */
  #strays: WriteOp[] = [];
  /** Acknowledged before the newest one, and not certainly superseded by it. */
  #beside: Acknowledged[] = [];
  readonly #superseded = new Set<string | undefined>();

  constructor(key: string) {
    this.key = key;
  }

  /**
   * The write was acknowledged, with this clock; without one it superseded all. What the clock does not cover stays beside it: a write
   * without a context that a retry stamped anew, the coordinator's own where a replica was slow, supersedes only what it may (spec RP-37).
   */
  succeeded(op: WriteOp, clock?: ClockMap): void {
    const older = this.acknowledged ? [this.acknowledged, ...this.#beside] : this.#beside;
    this.#beside = [];
    for (const old of older) {
      if (clock && old.clock && !includes(clockFromMap(clock), clockFromMap(old.clock))) this.#beside.push(old);
      else this.#superseded.add(old.value);
    }
    this.#strays.push(...this.#later);
    this.#later = [];
    this.acknowledged = { ...op, clock };
    this.#superseded.delete(op.value);
  }

  /** The writer gave up without an answer. */
  abandoned(op: WriteOp): void {
    this.#later.push(op);
  }

  /** What is wrong with a read at quorum; undefined = nothing. `unfinished` is what the writer had under way. */
  problem(shown: Shown, unfinished?: WriteOp): string | undefined {
    const later = unfinished ? [...this.#later, unfinished] : this.#later;
    const values = shown.filter((value) => value !== undefined);
    if (new Set(values).size !== values.length) return `doubled: one write shows twice in ${describe(shown)}`;
    const newest = this.acknowledged?.value;
    const maybe = [...later, ...this.#strays, ...this.#beside];
    for (const value of values) {
      if (value === newest || maybe.some((op) => op.value === value)) continue;
      const isBack = this.#superseded.has(value);
      return `${isBack ? "back: superseded" : "wrong: never written"} ${describe([value])}, acknowledged ${describe([newest])}`;
    }
    // A delete is not visible beside a concurrent value.
    const isHidden = newest === undefined && shown.every((value) => maybe.some((op) => op.value === value));
    if (shown.includes(newest) || isHidden || later.some((op) => shown.includes(op.value))) return undefined;
    return `lost: ${describe([newest])} was acknowledged, ${describe(shown)} shows`;
  }
}

function describe(shown: Shown): string {
  return shown.map((value) => (value === undefined ? "nothing" : value.slice(0, 24))).join(" and ");
}
