// What the newest records of the log say about the index and is not yet in its tables: written there in batches, in the order of
// keys, because a row at a random place of a b-tree costs several times a row of the log.
// Guarantees: nothing here is lost by a restart (the log's tail says it again); an entry is what is true now. Must not: do I/O.
//
// Invariant: a key is here from its change until the next flush; `isStored` says whether the table of living keys has a row of it.
import type { BinaryKey, KeyRange, LeaseId } from "../wire/config.ts";
import { isInRange } from "../wire/config-keys.ts";
import type { Version } from "./version.ts";

export interface PendingKey {
  /** Undefined = the key is deleted. */
  version: Version | undefined;
  readonly isStored: boolean;
}

export interface EndedVersion {
  readonly version: Version;
  /** The revision that ended it. */
  readonly ended: number;
}

export class PendingIndex {
  #keys = new Map<BinaryKey, PendingKey>();
  #ended: EndedVersion[] = [];
  /** What takes changes back, newest last; undefined = nobody may want to. */
  #undo: (() => void)[] | undefined;
  /** The last record of the log that is in the tables or here. */
  seq = 0;

  get rowCount(): number {
    return this.#keys.size + this.#ended.length;
  }

  /** Undefined = the tables know. */
  get(key: BinaryKey): PendingKey | undefined {
    return this.#keys.get(key);
  }

  /** `wasAlive`: the key had a living version before this one. */
  set(version: Version, wasAlive: boolean): void {
    this.#change(version.key, version, wasAlive);
  }

  remove(key: BinaryKey): void {
    this.#change(key, undefined, true);
  }

  addEnded(version: Version, ended: number): void {
    this.#ended.push({ version, ended });
  }

  /** Keys of a range, in no order. */
  inRange(range: KeyRange): readonly (readonly [BinaryKey, PendingKey])[] {
    const found: [BinaryKey, PendingKey][] = [];
    for (const entry of this.#keys) if (isInRange(entry[0], range)) found.push(entry);
    return found;
  }

  leased(lease: LeaseId): readonly Version[] {
    const found: Version[] = [];
    for (const { version } of this.#keys.values()) if (version?.lease === lease) found.push(version);
    return found;
  }

  /** In the order of keys, each with its state. */
  sortedKeys(): readonly (readonly [BinaryKey, PendingKey])[] {
    return [...this.#keys].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** In the order of keys, and of a key's revisions. */
  sortedEnded(): readonly EndedVersion[] {
    return this.#ended.toSorted(({ version: a }, { version: b }) =>
      a.key === b.key ? a.modRevision - b.modRevision : a.key < b.key ? -1 : 1,
    );
  }

  clear(): void {
    this.#keys = new Map();
    this.#ended = [];
    // What is held from now on is not what was marked.
    this.#undo = undefined;
  }

  /** Gives what takes all back to here, after a `clear` too. Until `unmark`. */
  mark(): () => void {
    const [keys, ended, endedCount, seq] = [this.#keys, this.#ended, this.#ended.length, this.seq];
    const undo: (() => void)[] = [];
    this.#undo = undo;
    return () => {
      for (const back of undo.reverse()) back();
      ended.length = endedCount;
      [this.#keys, this.#ended, this.seq] = [keys, ended, seq];
    };
  }

  unmark(): void {
    this.#undo = undefined;
  }

  #change(key: BinaryKey, version: Version | undefined, wasAlive: boolean): void {
    const keys = this.#keys;
    const held = keys.get(key);
    const before = held?.version;
    this.#undo?.push(() => {
      if (!held) keys.delete(key);
      else keys.set(key, { ...held, version: before });
    });
    if (held) held.version = version;
    else this.#keys.set(key, { version, isStored: wasAlive });
    // Made and deleted before any table heard of it.
    if (version === undefined && held?.isStored === false) this.#keys.delete(key);
  }
}
