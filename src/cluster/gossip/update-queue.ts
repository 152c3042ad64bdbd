// News on their way: each is sent along with other messages, so often that all members hear of it almost surely.
// Guarantees: the newest of each member only; those that were sent least go first; bounded by a message's room.

import type { Member } from "./types.ts";

/** Times the logarithm of the members. */
const SPREAD = 3;

interface Update {
  readonly member: Member;
  left: number;
}

export class UpdateQueue {
  readonly #perMessage: number;
  readonly #updates = new Map<string, Update>();

  constructor(perMessage: number) {
    this.#perMessage = perMessage;
  }

  add(member: Member, memberCount: number): void {
    this.#updates.set(member.id, { member, left: SPREAD * Math.ceil(Math.log2(memberCount + 1)) });
  }

  take(): Member[] {
    if (this.#updates.size === 0) return [];
    const chosen = [...this.#updates.values()].sort((a, b) => b.left - a.left).slice(0, this.#perMessage);
    for (const update of chosen) {
      update.left--;
      if (update.left === 0) this.#updates.delete(update.member.id);
    }
    return chosen.map(({ member }) => member);
  }
}
