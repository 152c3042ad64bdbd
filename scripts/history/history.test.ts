// The checkers of client histories: right histories pass, planted mistakes do not, and the fast search agrees with the slow one.
import { describe, expect, it } from "vitest";
import { commitProblems, type SeenEvent, watchProblems } from "./commit-order.ts";
import { checkLinearizable, partitions } from "./linearizable.ts";
import { Choices, hasOrder, madeUpHistory } from "./made-up.ts";
import type { Condition, Operation, Step, StepResult } from "./operations.ts";

const LONG_MS = 60_000;
const check = (history: readonly Operation[]) => checkLinearizable(history, { timeoutMs: LONG_MS });

let clients = 0;
interface Told {
  readonly conditions?: readonly Condition[];
  readonly succeeded?: boolean;
  readonly results?: readonly StepResult[] | undefined;
  readonly failure?: readonly Step[];
  readonly revision?: number;
}

/** One operation of a client of its own, from `calledMs` to `returnedMs`. */
function op(calledMs: number, returnedMs: number, success: readonly Step[], told: Told = {}): Operation {
  const { conditions = [], succeeded = true, results, failure = [], revision = 0 } = told;
  const outcome = results ? { succeeded, results } : undefined;
  return { client: clients++, conditions, success, failure, calledMs, returnedMs, outcome, revision };
}
const put = (from: number, to: number, value: string, version: number, key = "k"): Operation =>
  op(from, to, [{ kind: "put", key, value }], { results: [{ kind: "put", version }] });
const unknownPut = (from: number, value: string): Operation =>
  op(from, Number.POSITIVE_INFINITY, [{ kind: "put", key: "k", value }]);
const get = (from: number, to: number, value: string | undefined, version: number, key = "k"): Operation =>
  op(from, to, [{ kind: "get", key }], { results: [{ kind: "get", value, version }] });
const cas = (from: number, to: number, old: string, value: string, version: number): Operation =>
  op(from, to, [{ kind: "put", key: "k", value }], {
    conditions: [{ key: "k", field: "value", is: old }],
    results: [{ kind: "put", version }],
  });

describe("the linearizability checker", () => {
  it("takes what overlaps in either order, and an unknown write as done at any later time or never", () => {
    expect(check([put(1, 4, "a", 1), get(2, 3, "a", 1)]).verdict).toBe("yes");
    expect(check([put(1, 4, "a", 1), get(2, 3, undefined, 0)]).verdict).toBe("yes");
    const open = unknownPut(3, "b");
    expect(check([put(1, 2, "a", 1), open, get(5, 6, "a", 1)]).verdict).toBe("yes");
    expect(check([put(1, 2, "a", 1), open, get(5, 6, "b", 2)]).verdict).toBe("yes");
    expect(check([put(1, 2, "a", 1), open, get(5, 6, "a", 1), get(7, 8, "b", 2)]).verdict).toBe("yes");
    expect(check([put(1, 2, "a", 1), open, get(5, 6, "b", 2), get(7, 8, "a", 1)]).verdict).toBe("no");
  });

  it.each<[string, readonly Operation[]]>([
    ["a stale read", [put(1, 2, "a", 1), put(3, 4, "b", 2), get(5, 6, "a", 1)]],
    [
      "a lost update: two compare and set of one value",
      [put(1, 2, "a", 1), cas(3, 6, "a", "b", 2), cas(4, 7, "a", "c", 2)],
    ],
    ["a lost write: it is gone", [put(1, 2, "a", 1), get(3, 4, undefined, 0)]],
    ["a write applied twice: its version tells", [put(1, 2, "a", 1), get(3, 4, "a", 2)]],
    [
      "a write applied twice: it comes back over a later one",
      [unknownPut(1, "a"), get(2, 3, "a", 1), put(4, 5, "b", 2), get(6, 7, "a", 3)],
    ],
    ["a read from the future", [get(1, 2, "a", 1), put(3, 4, "a", 1)]],
    [
      "a deletion that did not happen",
      [
        put(1, 2, "a", 1),
        op(3, 4, [{ kind: "delete", key: "k" }], { results: [{ kind: "delete", deleted: 1 }] }),
        get(5, 6, "a", 1),
      ],
    ],
    ["time going back to one reader", [put(1, 9, "a", 1), get(2, 3, "a", 1), get(4, 5, undefined, 0)]],
    [
      "half a transaction",
      [
        op(
          1,
          9,
          [
            { kind: "put", key: "k", value: "a" },
            { kind: "put", key: "l", value: "b" },
          ],
          {
            results: [
              { kind: "put", version: 1 },
              { kind: "put", version: 1 },
            ],
          },
        ),
        op(
          2,
          3,
          [
            { kind: "get", key: "k" },
            { kind: "get", key: "l" },
          ],
          {
            results: [
              { kind: "get", value: "a", version: 1 },
              { kind: "get", value: undefined, version: 0 },
            ],
          },
        ),
      ],
    ],
    [
      "two keys in different orders",
      [
        put(1, 9, "a", 1, "k"),
        put(1, 9, "b", 1, "l"),
        op(
          2,
          3,
          [
            { kind: "get", key: "k" },
            { kind: "get", key: "l" },
          ],
          {
            results: [
              { kind: "get", value: "a", version: 1 },
              { kind: "get", value: undefined, version: 0 },
            ],
          },
        ),
        op(
          4,
          5,
          [
            { kind: "get", key: "k" },
            { kind: "get", key: "l" },
          ],
          {
            results: [
              { kind: "get", value: undefined, version: 0 },
              { kind: "get", value: "b", version: 1 },
            ],
          },
        ),
      ],
    ],
  ])("rejects %s", (_, history) => {
    const verdict = check(history);
    expect(verdict.verdict).toBe("no");
    expect(verdict.stuck?.at.outcome).toBeDefined();
  });

  it("parts a history by keys, and joins those of a transaction", () => {
    const both = op(5, 6, [
      { kind: "get", key: "a" },
      { kind: "get", key: "b" },
    ]);
    const parts = partitions([put(1, 2, "1", 1, "a"), put(3, 4, "2", 1, "b"), put(3, 4, "3", 1, "c"), both]);
    expect(parts.map(({ length }) => length).sort()).toEqual([1, 3]);
  });

  it("a check that takes too long is told as such", () => {
    const history = madeUpHistory({ seed: 1, operations: 2000, clients: 8, keys: ["a", "b"], unknownShare: 0.05 });
    let looks = 0;
    expect(checkLinearizable(history, { timeoutMs: 1, now: () => looks++ }).verdict).toBe("timeOut");
  });

  it("agrees with the slow search on 4 000 small histories, right ones and spoilt ones", () => {
    const count = { yes: 0, no: 0 };
    for (let seed = 1; seed <= 4000; seed++) {
      const choices = new Choices(seed);
      const keys = choices.pick([["a"], ["a", "b"], ["a", "b", "c"]]);
      const right = madeUpHistory({ seed, operations: 7, clients: 3, keys, unknownShare: 0.1 });
      expect(check(right).verdict, `seed ${seed}`).toBe("yes");
      const spoilt = spoil(choices, right);
      const verdict = check(spoilt).verdict;
      expect(verdict, `seed ${seed} spoilt`).toBe(hasOrder(spoilt) ? "yes" : "no");
      if (verdict !== "timeOut") count[verdict]++;
    }
    expect(count.no).toBeGreaterThan(1000);
    expect(count.yes).toBeGreaterThan(100);
  });

  it("accepts long right histories of many clients with lost answers", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const history = madeUpHistory({ seed, operations: 400, clients: 8, keys: ["a", "b", "c"], unknownShare: 0.02 });
      expect(check(history).verdict, `seed ${seed}`).toBe("yes");
    }
  });
});

/** One answer is another than it was. */
function spoil(choices: Choices, history: readonly Operation[]): readonly Operation[] {
  const at = choices.below(history.length);
  return history.map((operation, index) => {
    if (index !== at || !operation.outcome) return operation;
    const results = operation.outcome.results.map((result): StepResult => {
      if (result.kind === "delete") return { kind: "delete", deleted: 1 - result.deleted };
      const version = result.version + choices.pick([-1, 1, 0]);
      if (result.kind === "put") return { kind: "put", version };
      const value = choices.pick([undefined, "v1", "v2", "v3"]);
      return { kind: "get", value, version: value === undefined ? 0 : Math.max(1, version) };
    });
    return { ...operation, outcome: { succeeded: operation.outcome.succeeded, results } };
  });
}

const event = (revision: number, value: string | undefined, version: number, createRevision = 2): SeenEvent => ({
  ...{ revision, key: "k", value, version, createRevision },
  ...{ type: value === undefined ? "delete" : "put", modRevision: revision },
});

describe("the checker of watches", () => {
  const right = [event(2, "a", 1), event(3, "b", 2), event(4, undefined, 0), event(5, "c", 1, 5)];
  const writes = (told: readonly [number, string, number][]): readonly Operation[] =>
    told.map(([revision, value, version]) =>
      op(revision, revision + 0.5, [{ kind: "put", key: "k", value }], {
        results: [{ kind: "put", version }],
        revision,
      }),
    );
  const history = [
    ...writes([
      [2, "a", 1],
      [3, "b", 2],
      [5, "c", 1],
    ]),
    op(4, 4.5, [{ kind: "delete", key: "k" }], { results: [{ kind: "delete", deleted: 1 }], revision: 4 }),
  ];

  it("takes what happened", () => {
    expect(watchProblems(right, 2)).toEqual([]);
    expect(watchProblems(right.slice(1), 3)).toEqual([]);
    expect(commitProblems(history, right)).toEqual([]);
  });

  it.each<[string, readonly SeenEvent[], RegExp]>([
    ["a gap", [right[0]!, right[2]!, right[3]!], /^gap/],
    ["a gap at its beginning", right.slice(1), /^gap/],
    ["an event twice", [right[0]!, right[0]!, ...right.slice(1)], /^duplicate/],
    ["another order", [right[0]!, right[2]!, right[1]!, right[3]!], /^(gap|order)/],
    ["a write that happened twice", [...right.slice(0, 2), event(4, "b", 3)], /^twice/],
    ["a version that skips one", [right[0]!, event(3, "b", 3)], /is version 3/],
    ["a wrong revision in an event", [{ ...right[0]!, modRevision: 1 }], /modRevision/],
  ])("finds %s", (_, events, problem) => {
    expect(watchProblems(events, 2).some((text) => problem.test(text))).toBe(true);
  });

  it("finds what was answered and never happened, happened otherwise, or was written by nobody", () => {
    expect(commitProblems(history, right.slice(0, 3))).toMatchObject([
      expect.stringMatching(/^lost: put k was answered at 5/),
    ]);
    expect(commitProblems(history, [event(2, "b", 1), ...right.slice(1)])[0]).toMatch(/^lost/);
    expect(commitProblems(history.slice(1), right)).toMatchObject([expect.stringMatching(/^invented/)]);
  });

  it("finds revisions that go against the time", () => {
    const late = op(9, 10, [{ kind: "put", key: "k", value: "a" }], {
      results: [{ kind: "put", version: 1 }],
      revision: 2,
    });
    expect(commitProblems([late, ...history.slice(1)], right)).toMatchObject([
      expect.stringMatching(/^order: 2 was asked/),
    ]);
  });
});
