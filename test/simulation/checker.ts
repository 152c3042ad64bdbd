// The judge of a simulated run. Rules of: no acknowledged write lost (RP-1, RP-10), none back (RP-6, RP-7), monotonic reads (RP-5), honest
// answers (KV-2, RP-35). Each read and answer is judged when it comes; `checkFinal` looks at what is left at the end. All return
// sentences that say what is wrong.
import type { ConflictPolicy } from "../../src/access/types.ts";
import { covers, includes } from "../../src/kv/clock.ts";
import { hex } from "../../src/replication/hex.ts";
import type { Clock } from "../../src/wire/clock.ts";
import type { History, ReadInfo, WriteInfo } from "./history.ts";

/** The ends, and all from which a chain of superseding writes leads to one of them. */
function leadingTo(ends: readonly WriteInfo[]): ReadonlySet<WriteInfo> {
  const leading = new Set(ends);
  // A set that grows while it is walked.
  for (const end of leading) for (const old of end.supersedes) leading.add(old);
  return leading;
}

const coversWrite = (clock: Clock, write: WriteInfo): boolean => write.dots.some((dot) => covers(clock, dot));
const isAcknowledged = (write: WriteInfo): boolean => write.acknowledgedAt !== Number.POSITIVE_INFINITY;

export function checkFinal(history: History, finals: ReadonlyMap<string, Uint8Array>): string[] {
  const problems: string[] = [];
  for (const [key, writes] of history.byKey) {
    const acknowledged = writes.filter(isAcknowledged);
    const bytes = finals.get(key);
    if (!bytes) {
      if (acknowledged.length > 0)
        problems.push(`${acknowledged[0]!.name} was acknowledged, and no replica holds its key ${key}`);
      continue;
    }
    const state = history.decode(bytes);
    const accounted = leadingTo(state.versions.map((version) => history.writes.get(hex(version.writeId))!));
    for (const write of acknowledged) {
      if (!coversWrite(state.clock, write))
        problems.push(`${write.name} of ${key} was acknowledged, and the final clock does not cover it`);
      if (!accounted.has(write))
        problems.push(`${write.name} of ${key} was acknowledged and is gone; nothing that is there superseded it`);
    }
  }
  for (const write of history.writes.values()) {
    if (write.inDoubt === 0 && !write.isRepeated && write.answers.length === 0 && write.dots.length > 0)
      problems.push(`every attempt of ${write.name} was told that nothing was written, and it was stamped`);
  }
  return problems;
}

/**
 * Judges a read at `quorum` or `all`, when it is answered. Under `jsonMerge` a live version hides the deletes beside it; under
 * `lastWriteWins` what is shown hides all that is older.
 */
export function checkRead(history: History, read: ReadInfo, policy: ConflictPolicy): string[] {
  const problems: string[] = [];
  const { shown, clock, startStep } = read;
  const at = `the read of ${read.key} begun at step ${startStep}`;
  if (new Set(shown).size !== shown.length)
    problems.push(`${at} shows one write twice: ${shown.map(({ name }) => name)}`);
  const writes = history.byKey.get(read.key) ?? [];
  const deletes = read.hasTombstone || policy === "jsonMerge" ? writes.filter((write) => write.isDelete) : [];
  let ends = shown.concat(deletes);
  // What may live beside the newest, unseen.
  const newest = Math.max(0, ...ends.map((write) => write.maxTime));
  if (policy === "lastWriteWins") ends = ends.concat(writes.filter((write) => olderThan(write, newest, startStep)));
  const accounted = leadingTo(ends);
  for (const write of writes) {
    if (write.acknowledgedAt >= startStep) continue;
    if (!coversWrite(clock, write)) problems.push(`${write.name} was acknowledged, and ${at} misses it`);
    if (!accounted.has(write)) problems.push(`${write.name} is hidden from ${at} by nothing shown`);
    for (const old of write.buries) {
      if (shown.includes(old) && old.strict && !history.isExposed(old))
        problems.push(`${old.name} was superseded by ${write.name} and is back in ${at}`);
    }
  }
  for (const early of history.reads) {
    if (early.key === read.key && early.endStep < startStep && !includes(clock, early.clock))
      problems.push(`${at} is older than the one ended at ${early.endStep}`);
  }
  return problems;
}

/** May the write be ordered before this time? Not before a stamp that had been acknowledged by then (KV-25). */
function olderThan({ minTime, acknowledgedTimes }: WriteInfo, time: number, startStep: number): boolean {
  const known = acknowledgedTimes.filter(({ step }) => step < startStep);
  return Math.max(minTime, ...known.map((one) => one.time)) <= time;
}

/** An answer's clock must not name a write that neither the writer knew nor the write superseded (KV-2). */
export function checkAnswer(history: History, write: WriteInfo, clock: Clock): string[] {
  const problems: string[] = [];
  if (!coversWrite(clock, write)) problems.push(`${write.name} was answered with a clock that does not cover it`);
  const superseded = leadingTo([write]);
  for (const other of history.byKey.get(write.key) ?? []) {
    if (other === write || !coversWrite(clock, other)) continue;
    if (!superseded.has(other) && !(write.clock && coversWrite(write.clock, other)))
      problems.push(`the answer to ${write.name} covers ${other.name}, which it did not supersede`);
  }
  return problems;
}
