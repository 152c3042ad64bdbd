// Counts answers towards quorums: one of the replicas, or while the replicas change, one of the old and one of the new ones.
// Guarantees: a replica counts once in each group it is a member of, whoever else answers. Must not: know what was answered.

export interface Group {
  readonly members: readonly string[];
  readonly needed: number;
}

export class Tally {
  readonly groups: readonly Group[];
  /** A handful of ids each: arrays are cheaper than sets, and every read and write makes some. */
  readonly #counted: string[] = [];
  readonly #lost: string[] = [];
  /** Members of the first group among those counted: what nearly every answer asks for. */
  #countedInFirst = 0;

  constructor(groups: readonly Group[]) {
    this.groups = groups;
  }

  /** This replica has answered as hoped. */
  count(id: string): void {
    if (this.#counted.includes(id)) return;
    this.#counted.push(id);
    if (this.groups[0]?.members.includes(id)) this.#countedInFirst++;
  }

  uncount(id: string): void {
    const at = this.#counted.indexOf(id);
    if (at < 0) return;
    this.#counted.splice(at, 1);
    if (this.groups[0]?.members.includes(id)) this.#countedInFirst--;
  }

  /** This replica will not any more. */
  lose(id: string): void {
    if (!this.#lost.includes(id)) this.#lost.push(id);
  }

  /** How many members of the first group counted. */
  get countedCount(): number {
    return this.countedIn(0);
  }

  countedIn(group: number): number {
    return group === 0 ? this.#countedInFirst : this.#in(this.groups[group]!, this.#counted);
  }

  #in({ members }: Group, ids: readonly string[]): number {
    let count = 0;
    for (const id of ids) if (members.includes(id)) count++;
    return count;
  }

  /** Every group has what it needs. */
  get isReached(): boolean {
    const { groups } = this;
    for (let i = 0; i < groups.length; i++) if (this.countedIn(i) < groups[i]!.needed) return false;
    return true;
  }

  /** Some group cannot get what it needs any more. */
  get isLost(): boolean {
    for (const group of this.groups) {
      if (this.#lost.length === 0 && group.members.length >= group.needed) continue;
      const away = group.members.filter((id) => this.#lost.includes(id) && !this.#counted.includes(id)).length;
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

/** By members, then by how many are needed. The ring gives the same array for the same replicas, so every request finds its group here. */
const groupsOfMembers = new WeakMap<readonly string[], (readonly Group[])[]>();

/** `needed` of these replicas. */
export function groupOf(members: readonly string[], needed: number): readonly Group[] {
  let groups = groupsOfMembers.get(members);
  if (!groups) {
    groups = [];
    groupsOfMembers.set(members, groups);
  }
  groups[needed] ??= [{ members, needed }];
  return groups[needed];
}

/** A majority of these replicas, and of those that are to take their place. */
export function majorities(members: readonly string[], joint?: readonly string[]): readonly Group[] {
  const groups = groupOf(members, majority(members.length));
  return joint ? [...groups, ...groupOf(joint, majority(joint.length))] : groups;
}
