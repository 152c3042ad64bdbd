// The judge of a simulated run. Every rule is a function over the history and the final states; it returns sentences that say
// what is wrong. Rules of: no acknowledged write lost (RP-1), none back (RP-6, RP-7), monotonic reads (RP-5), honest answers (KV-2).
import { covers, includes } from "../../../src/kv/clock.ts";
import { decodeState } from "../../../src/kv/key-state.ts";
import { hex } from "../../../src/replication/hex.ts";
import type { History, ReadInfo, WriteInfo } from "./history.ts";

/** True when a chain of superseding writes leads from `id` to one of `ends`. */
class Succession {
  readonly #by = new Map<string, Set<string>>();

  constructor(writes: Iterable<WriteInfo>) {
    for (const write of writes) {
      for (const old of write.supersedes) {
        const by = this.#by.get(old) ?? new Set();
        by.add(write.id);
        this.#by.set(old, by);
      }
    }
  }

  leads(id: string, isEnd: (id: string) => boolean): boolean {
    const seen = new Set([id]);
    const open = [id];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (isEnd(next)) return true;
      for (const by of this.#by.get(next) ?? []) {
        if (!seen.has(by)) open.push(by);
        seen.add(by);
      }
    }
    return false;
  }
}

const isStrong = (read: ReadInfo): boolean => read.level !== "one";

function firstAcknowledged(write: WriteInfo): number {
  return Math.min(...write.acknowledged.map((ack) => ack.endStep));
}

function checkFinal(history: History, succession: Succession, finals: ReadonlyMap<string, Uint8Array>): string[] {
  const problems: string[] = [];
  for (const write of history.writes.values()) {
    if (write.acknowledged.length === 0 || history.isForgottenBy(write.id, Number.MAX_SAFE_INTEGER)) continue;
    const bytes = finals.get(write.key);
    if (!bytes) {
      problems.push(`${write.id} was acknowledged, and no replica holds its key ${write.key}`);
      continue;
    }
    const state = decodeState(bytes);
    const alive = new Set(state.versions.map((version) => hex(version.writeId)));
    if (!write.dots.some((dot) => covers(state.clock, dot)))
      problems.push(`${write.id} of ${write.key} was acknowledged, and the final clock does not cover it`);
    if (!succession.leads(write.id, (id) => alive.has(id)))
      problems.push(`${write.id} of ${write.key} was acknowledged and is gone; nothing that is there superseded it`);
  }
  return problems;
}

function checkRead(history: History, succession: Succession, read: ReadInfo): string[] {
  const problems: string[] = [];
  const shown = new Set(read.shown);
  if (shown.size !== read.shown.length) problems.push(`a read of ${read.key} shows one write twice: ${read.shown}`);
  for (const write of history.writes.values()) {
    if (write.key !== read.key || write.acknowledged.length === 0) continue;
    if (firstAcknowledged(write) >= read.startStep) continue;
    checkBuried(history, write, read, problems);
    if (history.isForgottenBy(write.id, read.endStep)) continue;
    if (!write.dots.some((dot) => covers(read.clock, dot)))
      problems.push(
        `${write.id} of ${write.key} was acknowledged before step ${read.startStep}, and a later read misses it`,
      );
    const isEnd = (id: string): boolean =>
      shown.has(id) || (read.hasTombstone && history.writes.get(id)?.isDelete === true);
    if (!succession.leads(write.id, isEnd))
      problems.push(
        `${write.id} of ${write.key} is hidden from the read begun at step ${read.startStep} by nothing shown`,
      );
  }
  return problems;
}

function checkBuried(history: History, write: WriteInfo, read: ReadInfo, problems: string[]): void {
  for (const old of write.buries) {
    const buried = history.writes.get(old)!;
    if (read.shown.includes(old) && buried.strict && !history.isExposed(old))
      problems.push(
        `${old} of ${read.key} was superseded by ${write.id} and is back in the read begun at step ${read.startStep}`,
      );
  }
}

function checkMonotonic(history: History, reads: readonly ReadInfo[]): string[] {
  const problems: string[] = [];
  for (const late of reads) {
    for (const early of reads) {
      if (
        early.key !== late.key ||
        history.wasPurged(late.key) ||
        early.endStep >= late.startStep ||
        includes(late.clock, early.clock)
      )
        continue;
      problems.push(
        `the read of ${late.key} begun at step ${late.startStep} is older than the one ended at ${early.endStep}`,
      );
    }
  }
  return problems;
}

/** An answer's clock must not name a write that neither the writer knew nor the write superseded (KV-2). */
function checkAnswers(history: History, succession: Succession): string[] {
  const problems: string[] = [];
  for (const write of history.writes.values()) {
    for (const clock of write.answers) {
      if (!write.dots.some((dot) => covers(clock, dot)))
        problems.push(`${write.id} was answered with a clock that does not cover it`);
      for (const other of history.writes.values()) {
        if (other.key !== write.key || other.id === write.id || !other.dots.some((dot) => covers(clock, dot))) continue;
        if (write.clock && other.dots.some((dot) => covers(write.clock!, dot))) continue;
        if (!succession.leads(other.id, (id) => id === write.id))
          problems.push(`the answer to ${write.id} covers ${other.id}, which it did not supersede`);
      }
    }
  }
  return problems;
}

export function check(history: History, finals: ReadonlyMap<string, Uint8Array>): string[] {
  const succession = new Succession(history.writes.values());
  const reads = history.reads.filter(isStrong);
  return [
    ...history.problems,
    ...checkFinal(history, succession, finals),
    ...reads.flatMap((read) => checkRead(history, succession, read)),
    ...checkMonotonic(history, reads),
    ...checkAnswers(history, succession),
  ];
}
