// A filter → rows, by what indexes know. Guarantees: every row of `sure` matches; every row that matches is in `sure` or `unsure`.
// The caller judges rows of `unsure` by their metadata (filter/match.ts); there are none but for long texts and unindexed paths.
import type { Condition, Filter } from "../filter/filter.ts";
import { typeOfBounds } from "../filter/filter.ts";
import { BitSet, type Rows } from "./bit-set.ts";
import type { FieldLookup, MetadataLookup } from "./field-lookup.ts";
import { cellsWithin, distanceMeters } from "./geo.ts";
import { MAX_INDEXED_CHARACTERS } from "./limits.ts";
import type { Scalar } from "./values.ts";

export interface Selection {
  readonly sure: BitSet;
  /** Disjoint from `sure`; undefined = none. */
  readonly unsure: BitSet | undefined;
}

export function select(filter: Filter, lookup: MetadataLookup): Selection {
  switch (filter.kind) {
    case "and":
      return filter.of.reduce<Selection>((all, inner) => both(all, select(inner, lookup)), {
        sure: BitSet.all(lookup.count),
        unsure: undefined,
      });
    case "or":
      return filter.of.reduce<Selection>((any, inner) => either(any, select(inner, lookup)), {
        sure: new BitSet(lookup.count),
        unsure: undefined,
      });
    case "not": {
      const { sure, unsure } = select(filter.of, lookup);
      const rest = sure.invert();
      return { sure: unsure ? rest.drop(unsure) : rest, unsure };
    }
    default:
      return rowsOf(filter, lookup);
  }
}

// Sets are made anew by every condition, so that joining may change them.

function both(a: Selection, b: Selection): Selection {
  if (!a.unsure && !b.unsure) return { sure: a.sure.keep(b.sure), unsure: undefined };
  const possible = joined(a.sure.copy(), a.unsure).keep(joined(b.sure.copy(), b.unsure));
  const sure = a.sure.keep(b.sure);
  return { sure, unsure: possible.drop(sure) };
}

function either(a: Selection, b: Selection): Selection {
  const sure = a.sure.join(b.sure);
  if (!a.unsure && !b.unsure) return { sure, unsure: undefined };
  const unsure = joined(joined(new BitSet(sure.count), a.unsure), b.unsure);
  return { sure, unsure: unsure.drop(sure) };
}

function joined(set: BitSet, more: BitSet | undefined): BitSet {
  return more ? set.join(more) : set;
}

function rowsOf(condition: Condition, lookup: MetadataLookup): Selection {
  const field = lookup.field(condition.path);
  const sure = field ? certain(condition, field, lookup.count) : new BitSet(lookup.count);
  const doubtful = field ? doubted(condition, field) : lookup.unindexed;
  if (isEmpty(doubtful)) return { sure, unsure: undefined };
  return { sure, unsure: BitSet.of(lookup.count, doubtful).drop(sure) };
}

const NONE: Rows = [];

function isEmpty(rows: Rows): boolean {
  return rows instanceof BitSet ? rows.size === 0 : rows.length === 0;
}

/** Rows that the index cannot judge. */
function doubted(condition: Condition, field: FieldLookup): Rows {
  switch (condition.kind) {
    case "oneOf":
    case "allOf":
      // Text that is indexed whole is shorter than any that is not.
      return condition.values.some(isLong) ? field.long : NONE;
    case "between":
      return typeOfBounds(condition.bounds) === "string" ? field.long : NONE;
    case "prefix":
      return field.long;
    case "exists":
    case "words":
    case "near":
      return NONE;
    default:
      return condition satisfies never;
  }
}

function isLong(value: Scalar): boolean {
  return typeof value === "string" && value.length > MAX_INDEXED_CHARACTERS;
}

function certain(condition: Condition, field: FieldLookup, count: number): BitSet {
  switch (condition.kind) {
    case "exists":
      return BitSet.of(count, field.present);
    case "oneOf":
      return union(count, equals(condition.values, field));
    case "allOf":
      return intersection(count, equals(condition.values, field), condition.values.some(isLong));
    case "between":
      return union(count, field.between(condition.bounds));
    case "prefix":
      return union(count, field.withPrefix(condition.prefix));
    case "words":
      return intersection(
        count,
        condition.words.map((word) => field.word(word)),
      );
    case "near":
      return near(condition, field, count);
    default:
      return condition satisfies never;
  }
}

function equals(values: readonly Scalar[], field: FieldLookup): readonly Rows[] {
  return values.filter((value) => !isLong(value)).map((value) => field.equal(value));
}

function union(count: number, lists: Iterable<Rows>): BitSet {
  const set = new BitSet(count);
  for (const rows of lists) set.addAll(rows);
  return set;
}

function intersection(count: number, lists: readonly Rows[], isIncomplete = false): BitSet {
  const [first, ...others] = lists;
  if (!first || isIncomplete) return new BitSet(count);
  return others.reduce<BitSet>((set, rows) => set.keep(BitSet.of(count, rows)), BitSet.of(count, first));
}

function near(condition: Condition & { kind: "near" }, { points }: FieldLookup, count: number): BitSet {
  const set = new BitSet(count);
  const judge = (at: number): void => {
    if (distanceMeters(condition.center, points.point(at)) <= condition.radiusMeters) set.add(points.row(at));
  };
  const cells = cellsWithin(condition.center, condition.radiusMeters);
  if (!cells) for (let at = 0; at < points.count; at++) judge(at);
  for (const cell of cells ?? []) {
    const positions = points.inCell(cell);
    for (let next = 0; next < positions.length; next++) judge(positions[next]!);
  }
  return set;
}
