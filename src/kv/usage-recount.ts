// What tenants use, counted anew from the rows of a store while it is written to.
// Guarantees: once the last page was added, the sums are what the store holds then, whatever changed since the first page was asked for.
// Must not: read the store; whoever owns it brings the pages, in order, each asked for after the one before was added.
import type { RowKey, ScanPage } from "../storage/types.ts";
import { decodeState, type KeyState } from "./key-state.ts";
import { type Recount, type Usage, usageOf } from "./usage.ts";

/** Negative where `a` comes first in the order of the pages. */
type CompareRows = (a: RowKey, b: RowKey) => number;

interface Changed {
  readonly row: RowKey;
  readonly usage: Usage;
}

export class UsageRecount implements Recount {
  readonly #compare: CompareRows;
  readonly sums = new Map<number, { storedBytes: number; keys: number }>();
  /** The last row that is counted. */
  after: RowKey | undefined;
  /** What changed behind `after` since the page under way was asked for: the page may show it as before or as since. */
  readonly #changed = new Map<string, Changed>();
  isDone = false;

  constructor(compare: CompareRows) {
    this.#compare = compare;
  }

  changed({ tenant, token, key }: RowKey, before: KeyState, after: KeyState): void {
    const row = { tenant, token, key };
    const usage = usageOf(key, after);
    if (this.#isBeyond(row)) this.#changed.set(nameOf(row), { row, usage });
    else {
      this.#add(tenant, usageOf(key, before), -1);
      this.#add(tenant, usage, 1);
    }
  }

  forget(tenant: number): void {
    this.sums.delete(tenant);
    for (const [name, { row }] of this.#changed) if (row.tenant === tenant) this.#changed.delete(name);
  }

  add({ rows, done }: ScanPage): void {
    for (const { row, value } of rows) {
      if (!this.#changed.has(nameOf(row))) this.#add(row.tenant, usageOf(row.key, decodeState(value)), 1);
    }
    const last = rows.at(-1)?.row ?? this.after;
    this.after = last && { tenant: last.tenant, token: last.token, key: last.key };
    this.isDone = done;
    for (const { row, usage } of this.#changed.values())
      if (done || !this.#isBeyond(row)) this.#add(row.tenant, usage, 1);
    // What lies further on is in a page that is asked for from now on.
    this.#changed.clear();
  }

  #isBeyond(row: RowKey): boolean {
    return !this.isDone && (this.after === undefined || this.#compare(row, this.after) > 0);
  }

  #add(tenant: number, { storedBytes, keys }: Usage, sign: number): void {
    const sums = this.sums.get(tenant) ?? { storedBytes: 0, keys: 0 };
    this.sums.set(tenant, {
      storedBytes: sums.storedBytes + sign * storedBytes,
      keys: sums.keys + sign * keys,
    });
  }
}

const nameOf = ({ tenant, key }: RowKey): string => `${tenant}/${key}`;
