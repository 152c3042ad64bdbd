// What one instance knows of all: the newest of everything it heard, whatever the order it came in.
// Guarantees: merging is commutative, associative and idempotent; nobody but the member itself overrules what is said of it.

import type { Member, MemberState } from "./types.ts";

/** Of two reports with the same incarnation the worse one is newer. */
const RANK: Readonly<Record<MemberState, number>> = { alive: 0, suspect: 1, failed: 2, left: 3 };

/** Whether `a` is news to who knows `b`. */
export function isNewer(a: Member, b: Member): boolean {
  return a.incarnation > b.incarnation || (a.incarnation === b.incarnation && RANK[a.state] > RANK[b.state]);
}

export class MemberTable {
  readonly #members = new Map<string, Member>();

  /** True when it was news. */
  merge(update: Member): boolean {
    const known = this.#members.get(update.id);
    if (known && !isNewer(update, known)) return false;
    this.#members.set(update.id, update);
    return true;
  }

  get(id: string): Member | undefined {
    return this.#members.get(id);
  }

  forget(id: string): void {
    this.#members.delete(id);
  }

  all(): Member[] {
    return [...this.#members.values()];
  }

  /** Those that are there, as far as is known, without `selfId`. */
  present(selfId: string): Member[] {
    return this.all().filter(({ id, state }) => id !== selfId && (state === "alive" || state === "suspect"));
  }
}

/** Who is failed or gone in the eyes of most of those that are not themselves failed or gone in the eyes of most of the others. */
export function agreedAbsent(views: ReadonlyMap<string, readonly Member[]>): ReadonlySet<string> {
  const votes = new Map<string, number>();
  for (const [reporter, members] of views)
    for (const { id, state } of members)
      if (id !== reporter && (state === "failed" || state === "left")) votes.set(id, (votes.get(id) ?? 0) + 1);
  const absent = [...votes].filter(([id, count]) => count * 2 > views.size - (views.has(id) ? 1 : 0));
  return new Set(absent.map(([id]) => id));
}
