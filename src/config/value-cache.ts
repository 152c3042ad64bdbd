// The living versions read or written last, with their values: most reads and the "what was there" of most writes need no SQL.
// Guarantees: holds at most `limitBytes`, the least recently used go first; what it holds is current. Must not: hold absences.
import type { BinaryKey } from "../wire/config.ts";
import type { Version } from "./version.ts";

/** Object, map entry and strings of one entry beside key and value, estimated. Bytes. */
const ENTRY_BYTES = 200;

export interface Held {
  readonly version: Version;
  readonly value: Uint8Array;
}

export class ValueCache {
  readonly #limitBytes: number;
  /** In the order of use: a Map keeps insertion order. */
  readonly #held = new Map<BinaryKey, Held>();
  bytes = 0;
  hitsTotal = 0;
  missesTotal = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get(key: BinaryKey): Held | undefined {
    const held = this.#held.get(key);
    if (held === undefined) {
      this.missesTotal++;
      return undefined;
    }
    this.hitsTotal++;
    // Moved behind the others only where some may have to go: two map operations a read otherwise.
    if (this.bytes > this.#limitBytes / 2) {
      this.#held.delete(key);
      this.#held.set(key, held);
    }
    return held;
  }

  has(key: BinaryKey): boolean {
    return this.#held.has(key);
  }

  set(held: Held): void {
    const { key } = held.version;
    this.delete(key);
    this.#held.set(key, held);
    this.bytes += costOf(held);
    if (this.bytes <= this.#limitBytes) return;
    for (const [oldest, entry] of this.#held) {
      this.#held.delete(oldest);
      this.bytes -= costOf(entry);
      if (this.bytes <= this.#limitBytes) return;
    }
  }

  delete(key: BinaryKey): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    this.#held.delete(key);
    this.bytes -= costOf(held);
  }
}

function costOf({ version, value }: Held): number {
  return version.key.length + value.length + ENTRY_BYTES;
}
