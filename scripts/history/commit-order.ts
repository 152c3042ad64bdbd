// What watchers were told against the order of commits, and against what clients were told.
// Guarantees: finds a revision that is missing, repeated or out of order, an event that does not follow from the ones before it, a write
// that happened twice, under another revision than its answer named, or whose answer was given although it never happened.
// Must not: be used where one revision may be more than one operation's.
import type { Operation, Step, StepResult } from "./operations.ts";

export interface SeenEvent {
  readonly revision: number;
  readonly type: "put" | "delete";
  readonly key: string;
  readonly value: string | undefined;
  /** Of a put. */
  readonly version: number;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** `from`: the revision that the watch began at. Everything of the keyspace is watched, and each revision changes something. */
export function watchProblems(events: readonly SeenEvent[], from: number): readonly string[] {
  const problems: string[] = [];
  const living = new Map<string, { version: number; createRevision: number }>();
  let last = from - 1;
  for (const event of events) {
    const { revision, key } = event;
    const name = `${event.type} ${key} at ${revision}`;
    if (revision < last) problems.push(`order: ${name} comes after revision ${last}`);
    else if (revision > last + 1) problems.push(`gap: ${name} comes after revision ${last}`);
    last = Math.max(last, revision);
    const before = living.get(key);
    if (event.type === "delete") {
      if (from <= 2 && !before) problems.push(`${name}: the key does not exist`);
      living.delete(key);
      continue;
    }
    const created = before?.createRevision ?? revision;
    const version = (before?.version ?? 0) + 1;
    const isKnown = before !== undefined || from <= 2;
    if (event.modRevision !== revision) problems.push(`${name} says modRevision ${event.modRevision}`);
    if (isKnown && (event.version !== version || event.createRevision !== created))
      problems.push(
        `${name} is version ${event.version} since ${event.createRevision}, not ${version} since ${created}`,
      );
    living.set(key, { version: event.version, createRevision: event.createRevision });
  }
  return [...problems, ...repeated(events)];
}

function repeated(events: readonly SeenEvent[]): readonly string[] {
  const seen = new Set<string>();
  const values = new Set<string>();
  const problems: string[] = [];
  for (const { revision, type, key, value } of events) {
    const place = `${revision} ${key}`;
    if (seen.has(place)) problems.push(`duplicate: ${type} ${key} at ${revision}`);
    else if (value !== undefined && values.has(`${key}=${value}`))
      problems.push(`twice: ${key}=${value} was written again at ${revision}`);
    seen.add(place);
    if (value !== undefined) values.add(`${key}=${value}`);
  }
  return problems;
}

/** Each value is written by one operation only. */
export function commitProblems(history: readonly Operation[], events: readonly SeenEvent[]): readonly string[] {
  const problems: string[] = [];
  const byPlace = new Map(events.map((event) => [`${event.revision} ${event.key}`, event]));
  const issued = new Set<string>();
  const writes: Operation[] = [];
  for (const operation of history) {
    const { outcome, revision } = operation;
    const all = [...operation.success, ...operation.failure];
    for (const step of all) if (step.kind === "put") issued.add(`${step.key}=${step.value}`);
    if (!outcome || revision === 0) continue;
    const steps = (outcome.succeeded ? operation.success : operation.failure).entries();
    const changes = [...steps].filter(([index, step]) => isChange(step.kind, outcome.results[index]));
    if (changes.length > 0) writes.push(operation);
    for (const [index, step] of changes) {
      const event = byPlace.get(`${revision} ${step.key}`);
      const result = outcome.results[index]!;
      const isRight =
        event?.type === step.kind &&
        (step.kind !== "put" ||
          (event.value === step.value && result.kind === "put" && event.version === result.version));
      if (!isRight)
        problems.push(`lost: ${step.kind} ${step.key} was answered at ${revision}; ${JSON.stringify(event)}`);
    }
  }
  for (const { key, value, revision } of events)
    if (value !== undefined && !issued.has(`${key}=${value}`))
      problems.push(`invented: nobody wrote ${key}=${value} (${revision})`);
  return [...problems, ...timeProblems(writes)];
}

function isChange(kind: Step["kind"], result: StepResult | undefined): boolean {
  return kind === "put" || (result?.kind === "delete" && result.deleted === 1);
}

/** A write that was answered before another was asked for has the lower revision. */
function timeProblems(writes: readonly Operation[]): readonly string[] {
  const problems: string[] = [];
  const byCall = [...writes].sort((a, b) => a.calledMs - b.calledMs);
  const byReturn = [...writes].sort((a, b) => a.returnedMs - b.returnedMs);
  let highest = 0;
  let next = 0;
  for (const { calledMs, revision } of byCall) {
    for (; next < byReturn.length && byReturn[next]!.returnedMs < calledMs; next++)
      highest = Math.max(highest, byReturn[next]!.revision);
    if (revision <= highest) problems.push(`order: ${revision} was asked for after ${highest} was answered`);
  }
  return problems;
}
