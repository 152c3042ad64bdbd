// Counts answers towards quorums: one of the replicas, or while the replicas change, one of the old and one of the new ones.
// Guarantees: a replica counts once in each group it is a member of, whoever else answers. Must not: know what was answered.

export interface Group {
  readonly members: readonly string[];
  readonly needed: number;
}

export class Tally {
  readonly groups: readonly Group[];
  readonly #counted = new Set<string>();
  readonly #lost = new Set<string>();

  constructor(groups: readonly Group[]) {
    this.groups = groups;
  }

  /** This replica has answered as hoped. */
  count(id: string): void {
    this.#counted.add(id);
  }

  uncount(id: string): void {
    this.#counted.delete(id);
  }

  /** This replica will not any more. */
  lose(id: string): void {
    this.#lost.add(id);
  }

  /** How many members of the first group counted. */
  get countedCount(): number {
    return this.countedIn(0);
  }

  countedIn(group: number): number {
    return this.#in(this.groups[group]!, this.#counted);
  }

  #in({ members }: Group, set: ReadonlySet<string>): number {
    let count = 0;
    for (const id of members) if (set.has(id)) count++;
    return count;
  }

  /** Every group has what it needs. */
  get isReached(): boolean {
    for (const group of this.groups) if (this.#in(group, this.#counted) < group.needed) return false;
    return true;
  }

  /** Some group cannot get what it needs any more. */
  get isLost(): boolean {
    for (const group of this.groups) {
      const away = group.members.filter((id) => this.#lost.has(id) && !this.#counted.has(id)).length;
      if (group.members.length - away < group.needed) return true;
    }
    return false;
  }
}

export function majority(count: number): number {
  return Math.floor(count / 2) + 1;
}

/** So many of `count` replicas meet every majority of them. */
export function readQuorum(count: number): number {
  return count - majority(count) + 1;
}

/** The groups of which a majority each is needed. */
export function majorities(sets: readonly (readonly string[] | undefined)[]): Group[] {
  return sets.flatMap((members) => (members ? [{ members, needed: majority(members.length) }] : []));
}
