// How much of a tenant's quota a key's state uses: its key and its values; deleted keys use nothing. Pure.
import type { KeyState } from "./key-state.ts";

export interface Usage {
  readonly storedBytes: number;
  readonly keys: number;
}

const NOTHING: Usage = { storedBytes: 0, keys: 0 };

/** The key counts by its characters: counting its bytes would cost every write an encoding. */
export function usageOf(key: string, state: KeyState): Usage {
  let valueBytes = -1;
  for (const { value } of state.versions) if (value) valueBytes = Math.max(0, valueBytes) + value.length;
  return valueBytes < 0 ? NOTHING : { storedBytes: key.length + valueBytes, keys: 1 };
}

/** Sums of what changes, by tenant. Guarantees: `takeChanged` names each changed tenant once, with its whole sums. */
export class UsageMeter {
  readonly #sums = new Map<number, { storedBytes: number; keys: number }>();
  readonly #changed = new Set<number>();

  constructor(stored: Iterable<Usage & { readonly tenant: number }> = []) {
    for (const { tenant, storedBytes, keys } of stored) this.#sums.set(tenant, { storedBytes, keys });
  }

  of(tenant: number): Usage {
    return this.#sums.get(tenant) ?? NOTHING;
  }

  changed(row: { readonly tenant: number; readonly key: string }, before: KeyState, after: KeyState): void {
    const [was, is] = [usageOf(row.key, before), usageOf(row.key, after)];
    if (was.storedBytes === is.storedBytes && was.keys === is.keys) return;
    let sums = this.#sums.get(row.tenant);
    if (!sums) {
      sums = { storedBytes: 0, keys: 0 };
      this.#sums.set(row.tenant, sums);
    }
    sums.storedBytes += is.storedBytes - was.storedBytes;
    sums.keys += is.keys - was.keys;
    this.#changed.add(row.tenant);
  }

  forget(tenant: number): void {
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
