// How much of a tenant's quota a key's state uses: its key and its values; deleted keys use nothing. Pure.
import type { RowKey } from "../storage/types.ts";
import type { KeyState } from "./key-state.ts";

export interface Usage {
  readonly storedBytes: number;
  readonly keys: number;
}

const NOTHING: Usage = { storedBytes: 0, keys: 0 };

/** Bytes of the living values; -1 = none is alive. */
function valueBytesOf(state: KeyState): number {
  let bytes = -1;
  for (const { value } of state.versions) if (value) bytes = Math.max(0, bytes) + value.length;
  return bytes;
}

/** The key counts by its characters: counting its bytes would cost every write an encoding. */
export function usageOf(key: string, state: KeyState): Usage {
  const bytes = valueBytesOf(state);
  return bytes < 0 ? NOTHING : { storedBytes: key.length + bytes, keys: 1 };
}

type Sums = Map<number, { storedBytes: number; keys: number }>;

/** A count of all that is stored, under way (usage-recount.ts): it is told of each change in place of the meter's sums. */
export interface Recount {
  readonly sums: Sums;
  readonly isDone: boolean;
  changed(row: RowKey, before: KeyState, after: KeyState): void;
  forget(tenant: number): void;
}

/** Sums of what changes, by tenant. Guarantees: `takeChanged` names each changed tenant once, with its whole sums. */
export class UsageMeter {
  #sums: Sums = new Map();
  /** Until it is done nothing is known. */
  #recount: Recount | undefined;
  readonly #changed = new Set<number>();

  constructor(stored: Iterable<Usage & { readonly tenant: number }> = []) {
    for (const { tenant, storedBytes, keys } of stored) this.#sums.set(tenant, { storedBytes, keys });
  }

  /** What was stored cannot be trusted: it is counted anew. */
  startRecount(recount: Recount): void {
    this.#recount = recount;
    this.#changed.clear();
  }

  /** The recount's last page was added: its sums hold, and all are to be stored. */
  endRecount(): void {
    if (!this.#recount?.isDone) throw new Error("what tenants use is not counted to its end");
    this.#sums = this.#recount.sums;
    this.#recount = undefined;
    for (const tenant of this.#sums.keys()) this.#changed.add(tenant);
  }

  /** Throws during a recount: a wrong figure would refuse writes, or let too many in. */
  of(tenant: number): Usage {
    if (this.#recount) throw new Error("what tenants use is being counted anew");
    return this.#sums.get(tenant) ?? NOTHING;
  }

  changed(row: RowKey, before: KeyState, after: KeyState): void {
    if (this.#recount) return this.#recount.changed(row, before, after);
    const was = valueBytesOf(before);
    const is = valueBytesOf(after);
    if (was === is) return;
    const keyLength = row.encoded?.length ?? row.key.length;
    let sums = this.#sums.get(row.tenant);
    if (!sums) {
      sums = { storedBytes: 0, keys: 0 };
      this.#sums.set(row.tenant, sums);
    }
    sums.storedBytes += (is < 0 ? 0 : keyLength + is) - (was < 0 ? 0 : keyLength + was);
    sums.keys += (is < 0 ? 0 : 1) - (was < 0 ? 0 : 1);
    this.#changed.add(row.tenant);
  }

  forget(tenant: number): void {
    this.#recount?.forget(tenant);
    this.#sums.delete(tenant);
    this.#changed.delete(tenant);
  }

  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  takeChanged(): readonly (Usage & { readonly tenant: number })[] {
    const changed = [...this.#changed].map((tenant) => ({ tenant, ...this.of(tenant) }));
    this.#changed.clear();
    return changed;
  }
}
