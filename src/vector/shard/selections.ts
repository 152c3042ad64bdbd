// Which rows of a segment a filter lets through: exactly, with what the index leaves open judged by the metadata itself.
import type { Filter } from "../filter/filter.ts";
import { matches } from "../filter/match.ts";
import type { BitSet } from "../metadata/bit-set.ts";
import type { MetadataLookup } from "../metadata/field-lookup.ts";
import { select } from "../metadata/select.ts";
import { parsedMetadata } from "./fresh-segment.ts";
import { KEPT_SELECTIONS } from "./limits.ts";

interface Selectable {
  readonly metadataIndex: MetadataLookup;
  isDeleted(row: number): boolean;
  metadataOf(row: number): Uint8Array;
}

export interface Selected {
  /** Deleted rows may be among them. */
  readonly rows: BitSet;
  /** Rows whose metadata was read. */
  readonly judged: number;
}

export function selectRows(filter: Filter, segment: Selectable): Selected {
  const { sure, unsure } = select(filter, segment.metadataIndex);
  let judged = 0;
  for (const row of unsure?.rows() ?? []) {
    if (segment.isDeleted(row)) continue;
    judged++;
    if (matches(filter, parsedMetadata(segment.metadataOf(row)))) sure.add(row);
  }
  return { rows: sure, judged };
}

/** The last filters of each sealed segment: its metadata never changes. */
export class KeptSelections {
  readonly #kept = new WeakMap<Selectable, Map<string, BitSet>>();

  /** `key`: the filter as text. */
  select(filter: Filter, key: string, segment: Selectable): Selected {
    let kept = this.#kept.get(segment);
    if (!kept) {
      kept = new Map();
      this.#kept.set(segment, kept);
    }
    const known = kept.get(key);
    if (known) return { rows: known, judged: 0 };
    const selected = selectRows(filter, segment);
    kept.set(key, selected.rows);
    if (kept.size > KEPT_SELECTIONS) kept.delete(kept.keys().next().value!);
    return selected;
  }
}
