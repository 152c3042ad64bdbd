// What a metadata index consists of, path by path and value by value in order: the form in which indexes are written and merged.
import { BitSet, type Rows } from "./bit-set.ts";
import type { PointsOfField } from "./field-lookup.ts";
import type { FieldBuilder, MetadataIndexBuilder } from "./index-builder.ts";

export type Entries<K> = Iterable<readonly [key: K, rows: Rows]>;

export interface FieldColumns {
  readonly path: string;
  readonly present: Rows;
  readonly long: Rows;
  readonly nulls: Rows;
  readonly falses: Rows;
  readonly trues: Rows;
  /** Ascending, each once; texts and words by their UTF-8 bytes. Read once. */
  readonly numbers: Entries<number>;
  readonly texts: Entries<Uint8Array>;
  readonly words: Entries<Uint8Array>;
  readonly points: PointsOfField;
}

export interface IndexColumns {
  readonly count: number;
  readonly unindexed: Rows;
  readonly fields: Iterable<FieldColumns>;
}

export function rowList(rows: Rows): ArrayLike<number> {
  return rows instanceof BitSet ? rows.rows() : rows;
}

const encoder = new TextEncoder();

export function columnsOf(builder: MetadataIndexBuilder): IndexColumns {
  const { count, unindexed, fields } = builder;
  return { count, unindexed, fields: [...fields].map(([path, field]) => fieldColumns(path, field)) };
}

function fieldColumns(path: string, field: FieldBuilder): FieldColumns {
  const { present, long, nulls, booleans, numbers, texts, words, points } = field;
  return {
    path,
    present,
    long,
    nulls,
    falses: booleans[0],
    trues: booleans[1],
    numbers: entries(numbers, (key) => key),
    texts: entries(texts, (key) => encoder.encode(key)),
    words: entries(words, (key) => encoder.encode(key)),
    points,
  };
}

function* entries<S extends number | string, K>(
  dictionary: { readonly keys: readonly S[]; get(key: S): Rows },
  keyOf: (key: S) => K,
): Entries<K> {
  for (const key of dictionary.keys) yield [keyOf(key), dictionary.get(key)];
}
