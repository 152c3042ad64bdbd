// Locality-sensitive hashes. Rows on a sphere (cosine, dot): the signs of projections on random planes through their mean (Charikar
// 2002). Euclidean: projections cut into steps of a width (p-stable, Datar et al. 2004). A query also reads the buckets beside its own,
// in the order of how near it is to their borders (query-directed probing, Lv et al. 2007).

import { seededWords } from "../quantize/seeded.ts";

export interface HashShape {
  readonly tables: number;
  /** Projections that make a table's key. */
  readonly bits: number;
  /** Of a step of a projection; 0 = signs. */
  readonly width: number;
  readonly seed: number;
}

/** Projections: nearly normal numbers (sums of four), the same on every machine; then a shift of each from 0 to 1. */
export function hashPlanes({ tables, bits, seed }: HashShape, length: number) {
  const words = seededWords(seed);
  const planes = new Float32Array(tables * bits * length);
  for (let i = 0; i < planes.length; i++) {
    const sum = words() / 2 ** 32 + words() / 2 ** 32 + words() / 2 ** 32 + words() / 2 ** 32;
    planes[i] = (sum - 2) * Math.sqrt(3);
  }
  return { planes, shifts: Float64Array.from({ length: tables * bits }, () => words() / 2 ** 32) };
}

/** The step of a projection, and how far from its lower border in steps. */
export function stepOf(
  projection: number,
  { width }: HashShape,
  shift: number,
): { readonly step: number; readonly rest: number } {
  if (width === 0) return { step: projection > 0 ? 1 : 0, rest: 0 };
  const place = projection / width + shift;
  const step = Math.floor(place);
  return { step, rest: place - step };
}

/** Adds the step of one projection to a key. */
export function mixStep(key: number, step: number): number {
  const mixed = Math.imul(key ^ (step + 0x7f4a_7c15), 0x9e37_79b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/** One change of a key: a projection one step further. */
export interface Change {
  readonly projection: number;
  readonly by: number;
  /** Squared distance to the border, in units of one table's projections. */
  readonly cost: number;
}

/** What may be changed in one table's key, cheapest first. */
export function changesOf(
  projections: ArrayLike<number>,
  from: number,
  shape: HashShape,
  shifts: Float64Array,
): Change[] {
  const changes: Change[] = [];
  for (let i = 0; i < shape.bits; i++) {
    const value = projections[from + i]!;
    if (shape.width === 0) {
      changes.push({ projection: i, by: value > 0 ? -1 : 1, cost: value * value });
      continue;
    }
    const { rest } = stepOf(value, shape, shifts[from + i]!);
    const width = shape.width * shape.width;
    changes.push(
      { projection: i, by: -1, cost: rest * rest * width },
      { projection: i, by: 1, cost: (1 - rest) ** 2 * width },
    );
  }
  return changes.sort((a, b) => a.cost - b.cost);
}

interface ChangeSet {
  readonly table: number;
  readonly cost: number;
  /** Places in the table's list of changes, ascending. */
  readonly chosen: readonly number[];
}

/**
 * The keys to look at beside a query's own, cheapest first over all tables: sets of changes, none changing a projection twice.
 * Every set is reached once: by moving its last change on, or by adding the next.
 */
export function* changeSets(
  tables: readonly (readonly Change[])[],
): Generator<{ table: number; changes: readonly Change[] }> {
  const heap: ChangeSet[] = [];
  for (const [table, changes] of tables.entries())
    if (changes.length > 0) push(heap, { table, cost: changes[0]!.cost, chosen: [0] });
  for (let next = pop(heap); next !== undefined; next = pop(heap)) {
    const { table, cost, chosen } = next;
    const list = tables[table]!;
    const last = chosen.at(-1)!;
    if (last + 1 < list.length) {
      const more = list[last + 1]!.cost;
      push(heap, { table, cost: cost + more - list[last]!.cost, chosen: [...chosen.slice(0, -1), last + 1] });
      push(heap, { table, cost: cost + more, chosen: [...chosen, last + 1] });
    }
    const changes = chosen.map((place) => list[place]!);
    if (new Set(changes.map(({ projection }) => projection)).size === changes.length) yield { table, changes };
  }
}

function push(heap: ChangeSet[], item: ChangeSet): void {
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (heap[parent]!.cost <= item.cost) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = item;
}

function pop(heap: ChangeSet[]): ChangeSet | undefined {
  const top = heap[0];
  const item = heap.pop();
  if (top === undefined || item === undefined || heap.length === 0) return top;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]!.cost < heap[child]!.cost) child++;
    if (heap[child]!.cost >= item.cost) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = item;
  return top;
}
