// The changes made last, in memory: most watches that resume, and those whose reader was slow for a moment, need no SQL.
// Guarantees: holds whole revisions without a gap up to the newest; at most `limitBytes`, the oldest go first.
import type { Change } from "./keyspace.ts";

/** Objects and record of one change beside its bytes, estimated. */
const CHANGE_BYTES = 400;

export interface RevisionChanges {
  readonly revision: number;
  readonly changes: readonly Change[];
}

export class ChangeTail {
  readonly #limitBytes: number;
  /** `#first` is the oldest still held; those before it go when they are half. */
  #held: (RevisionChanges & { readonly bytes: number })[] = [];
  #first = 0;
  bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  add(revision: number, changes: readonly Change[]): void {
    let bytes = 0;
    for (const change of changes)
      bytes += CHANGE_BYTES + 2 * change.bytes.length + (change.ended ? change.ended.value.length : 0);
    this.#held.push({ revision, changes, bytes });
    this.bytes += bytes;
    while (this.bytes > this.#limitBytes && this.#first < this.#held.length)
      this.bytes -= this.#held[this.#first++]!.bytes;
    if (this.#first * 2 <= this.#held.length) return;
    this.#held = this.#held.slice(this.#first);
    this.#first = 0;
  }

  get oldest(): number | undefined {
    return this.#held[this.#first]?.revision;
  }

  /** The revisions from `revision` on, `limit` of them; undefined = they are not all here. */
  from(revision: number, limit: number): readonly RevisionChanges[] | undefined {
    const oldest = this.#held[this.#first];
    if (!oldest || revision < oldest.revision) return undefined;
    // Every revision has an entry: each changed something.
    const at = this.#first + (revision - oldest.revision);
    return this.#held.slice(at, at + limit);
  }
}
