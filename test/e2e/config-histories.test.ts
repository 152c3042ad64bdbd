// The short form of `npm run histories`: concurrent clients of the real server under kill -9, judged by the checkers of scripts/history.
import { expect, it } from "vitest";
import { commitProblems } from "../../scripts/history/commit-order.ts";
import { checkLinearizable } from "../../scripts/history/linearizable.ts";
import type { Operation } from "../../scripts/history/operations.ts";
import { Histories } from "../../scripts/history/run.ts";

it("[CF-215] [CF-216] histories under kill -9 have an order, and watches told it; spoilt ones have none", async () => {
  const options = { histories: 16, seed: 7, clients: 4, operationsPerClient: 25, killEvery: 2, checkTimeoutMs: 60_000 };
  const { problems, last, ...counts } = await new Histories(options).run();
  console.log(JSON.stringify(counts));
  expect(problems).toEqual([]);
  expect(counts).toMatchObject({ histories: 16, kills: 1 });
  expect(counts.operations).toBeGreaterThan(1000);
  const check = (history: readonly Operation[]) => checkLinearizable(history, { timeoutMs: 60_000 }).verdict;
  const read = last.filter(({ outcome }) => outcome?.results[0]?.kind === "get" && outcome.results[0].value);
  expect(read.length).toBeGreaterThan(20);
  for (const each of read.slice(0, 20)) expect(check(at(last, each, 0)), "a read from the future").toBe("no");
  const stale = read.filter((each) => isOver(last, each));
  expect(stale.length).toBeGreaterThan(10);
  for (const each of stale.slice(0, 20)) expect(check(at(last, each, 1e12)), "a stale read").toBe("no");
  expect(commitProblems(last, []).length).toBeGreaterThan(10);
});

/** The history with one operation at another time. */
function at(history: readonly Operation[], moved: Operation, ms: number): readonly Operation[] {
  return history.map((each) => (each === moved ? { ...each, calledMs: ms, returnedMs: ms } : each));
}

/** What it read was written, and later overwritten or deleted, by operations whose outcome is known. */
function isOver(history: readonly Operation[], read: Operation): boolean {
  const { key } = (read.outcome!.succeeded ? read.success : read.failure)[0]!;
  const result = read.outcome!.results[0] as { readonly value: string };
  let [written, changed] = [0, 0];
  for (const { outcome, success, failure, revision } of history) {
    if (!outcome) continue;
    for (const step of outcome.succeeded ? success : failure) {
      if (step.kind === "get" || step.key !== key) continue;
      changed = Math.max(changed, revision);
      if (step.kind === "put" && step.value === result.value) written = revision;
    }
  }
  return written > 0 && changed > written;
}
