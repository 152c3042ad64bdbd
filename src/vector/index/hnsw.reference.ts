// The plain twin of the HNSW kernels: the same graph from the same rows, levels and parameters, with sorted arrays and sets.
// Vectors are compared by squared distance; whole numbers make both sides exact.

import { referenceCodeDistance } from "../distances.reference.ts";

interface Near {
  readonly row: number;
  readonly distance: number;
}

export interface ReferenceGraph {
  /** Links by level, then row; nearest first. */
  readonly links: Map<number, number[]>[];
  entry: number;
  top: number;
}

const byDistance = (a: Near, b: Near): number => a.distance - b.distance || a.row - b.row;

export class ReferenceHnsw {
  readonly #vectors: readonly ArrayLike<number>[];
  readonly #m: number;
  readonly graph: ReferenceGraph = { links: [new Map()], entry: -1, top: -1 };

  constructor(vectors: readonly ArrayLike<number>[], m: number) {
    this.#vectors = vectors;
    this.#m = m;
  }

  #near(query: ArrayLike<number>, row: number): Near {
    return { row, distance: referenceCodeDistance(query, this.#vectors[row]!) };
  }

  #linksOf(row: number, level: number): number[] {
    return this.graph.links[level]?.get(row) ?? [];
  }

  /** Greedy from the entry down to above `to`. A tie does not move. */
  #descend(query: ArrayLike<number>, to: number): Near {
    let at = this.#near(query, this.graph.entry);
    for (let level = this.graph.top; level > to; level--) {
      for (let moved = true; moved; ) {
        moved = false;
        for (const row of this.#linksOf(at.row, level)) {
          const near = this.#near(query, row);
          if (near.distance >= at.distance) continue;
          at = near;
          moved = true;
        }
      }
    }
    return at;
  }

  /** The pool of the `ef` nearest rows met on a level. */
  #walk(query: ArrayLike<number>, start: Near, { ef, level }: { ef: number; level: number }): Near[] {
    const pool = [start];
    const seen = new Set([start.row]);
    const expanded = new Set<number>();
    for (;;) {
      const next = pool.find(({ row }) => !expanded.has(row));
      if (next === undefined) return pool;
      expanded.add(next.row);
      for (const row of this.#linksOf(next.row, level)) {
        if (seen.has(row)) continue;
        seen.add(row);
        const near = this.#near(query, row);
        pool.push(near);
        pool.sort(byDistance);
        if (pool.length > ef) pool.pop();
      }
    }
  }

  /** Of sorted candidates, those not nearer to one chosen before than to the row itself; of duplicates the first or last few. */
  #choose(candidates: readonly Near[], most: number, equalOnes: "first" | "last"): Near[] {
    const chosen: Near[] = [];
    const mostEqual = Math.max(1, Math.floor(most / 2));
    const equal = candidates.filter(({ distance }) => distance === 0);
    const eligible = new Set(equalOnes === "first" ? equal.slice(0, mostEqual) : equal.slice(-mostEqual));
    for (const candidate of candidates) {
      if (chosen.length === most) break;
      if (candidate.distance === 0 && !eligible.has(candidate)) continue;
      const vector = this.#vectors[candidate.row]!;
      if (!chosen.some(({ row }) => this.#near(vector, row).distance < candidate.distance)) chosen.push(candidate);
    }
    return chosen;
  }

  #link(from: number, to: Near, level: number): void {
    const width = level === 0 ? 2 * this.#m : this.#m;
    const own = this.#vectors[from]!;
    // Behind those as near: it came later.
    const list = this.#linksOf(from, level).map((row) => this.#near(own, row));
    const place = list.findIndex(({ distance }) => distance > to.distance);
    list.splice(place < 0 ? list.length : place, 0, to);
    const kept = list.length > width ? this.#choose(list, width, "first") : list;
    this.graph.links[level]!.set(
      from,
      kept.map(({ row }) => row),
    );
  }

  insert(row: number, level: number, efConstruction: number): void {
    const { graph } = this;
    while (graph.links.length <= level) graph.links.push(new Map());
    for (let at = 0; at <= level; at++) graph.links[at]!.set(row, []);
    if (graph.top >= 0) {
      const vector = this.#vectors[row]!;
      let near = this.#descend(vector, level);
      for (let at = Math.min(level, graph.top); at >= 0; at--) {
        const found = this.#walk(vector, near, { ef: efConstruction, level: at });
        near = found[0]!;
        const chosen = this.#choose(found, this.#m, "last");
        graph.links[at]!.set(
          row,
          chosen.map((other) => other.row),
        );
        for (const other of chosen) this.#link(other.row, { row, distance: other.distance }, at);
      }
    }
    if (level > graph.top) {
      graph.entry = row;
      graph.top = level;
    }
  }

  search(query: ArrayLike<number>, ef: number): readonly number[] {
    if (this.graph.top < 0) return [];
    return this.#walk(query, this.#descend(query, 0), { ef, level: 0 }).map(({ row }) => row);
  }
}
