// The judge of a simulated run. Every rule is a function over the history and the final states; it returns sentences that say
// what is wrong. Rules of: no acknowledged write lost (RP-1), none back (RP-6, RP-7), monotonic reads (RP-5), honest answers (KV-2).
import { covers, includes } from "../../../src/kv/clock.ts";
import { decodeState } from "../../../src/kv/key-state.ts";
import { hex } from "../../../src/replication/hex.ts";
import type { History, ReadInfo, WriteInfo } from "./history.ts";

/** The ends, and all from which a chain of superseding writes leads to one of them. */
function leadingTo(history: History, ends: Iterable<string>): ReadonlySet<string> {
  const leading = new Set(ends);
  // A set that grows while it is walked.
  for (const end of leading) for (const old of history.writes.get(end)?.supersedes ?? []) leading.add(old);
  return leading;
}

const isStrong = (read: ReadInfo): boolean => read.level !== "one";

function firstAcknowledged(write: WriteInfo): number {
  return Math.min(...write.acknowledged.map((ack) => ack.endStep));
}

function checkFinal(history: History, finals: ReadonlyMap<string, Uint8Array>): string[] {
  const problems: string[] = [];
  for (const write of history.writes.values()) {
    if (write.acknowledged.length === 0 || history.isForgottenBy(write.id, Number.MAX_SAFE_INTEGER)) continue;
    const bytes = finals.get(write.key);
    if (!bytes) {
      problems.push(`${write.id} was acknowledged, and no replica holds its key ${write.key}`);
      continue;
    }
    const state = decodeState(bytes);
    const accounted = leadingTo(
      history,
      state.versions.map((version) => hex(version.writeId)),
    );
    if (!write.dots.some((dot) => covers(state.clock, dot)))
      problems.push(`${write.id} of ${write.key} was acknowledged, and the final clock does not cover it`);
    if (!accounted.has(write.id))
      problems.push(`${write.id} of ${write.key} was acknowledged and is gone; nothing that is there superseded it`);
  }
  return problems;
}

function checkRead(history: History, read: ReadInfo): string[] {
  const problems: string[] = [];
  const ends = new Set(read.shown);
  if (ends.size !== read.shown.length) problems.push(`a read of ${read.key} shows one write twice: ${read.shown}`);
  const writes = history.writesOf(read.key);
  if (read.hasTombstone) for (const write of writes) if (write.isDelete) ends.add(write.id);
  const accounted = leadingTo(history, ends);
  for (const write of writes) {
    if (write.acknowledged.length === 0) continue;
    if (firstAcknowledged(write) >= read.startStep) continue;
    checkBuried(history, write, read, problems);
    if (history.isForgottenBy(write.id, read.endStep)) continue;
    if (!write.dots.some((dot) => covers(read.clock, dot)))
      problems.push(
        `${write.id} of ${write.key} was acknowledged before step ${read.startStep}, and a later read misses it`,
      );
    if (!accounted.has(write.id))
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
function checkAnswers(history: History): string[] {
  const problems: string[] = [];
  for (const write of history.writes.values()) {
    // What a delete superseded that was purged from beside it: its replicas' clocks cover that still.
    const superseded = leadingTo(history, [write.id, ...history.deletesForgottenBefore(write.id)]);
    for (const clock of write.answers) {
      if (!write.dots.some((dot) => covers(clock, dot)))
        problems.push(`${write.id} was answered with a clock that does not cover it`);
      for (const other of history.writesOf(write.key)) {
        if (superseded.has(other.id) || !other.dots.some((dot) => covers(clock, dot))) continue;
        if (!(write.clock && other.dots.some((dot) => covers(write.clock!, dot))))
          problems.push(`the answer to ${write.id} covers ${other.id}, which it did not supersede`);
      }
    }
  }
  return problems;
}

export function check(history: History, finals: ReadonlyMap<string, Uint8Array>): string[] {
  const reads = history.reads.filter(isStrong);
  return [
    ...history.problems,
    ...checkFinal(history, finals),
    ...reads.flatMap((read) => checkRead(history, read)),
    ...checkMonotonic(history, reads),
    ...checkAnswers(history),
  ];
}
