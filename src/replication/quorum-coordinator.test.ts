// The coordinator's own bounds, against replicas that never answer.
import { describe, expect, it } from "vitest";
import type { Caller } from "../access/types.ts";
import type { Ring } from "../cluster/ring.ts";
import { INCARNATIONS_PER_NODE } from "../wire/clock.ts";
import type { SessionAnswer } from "../wire/session.ts";
import { MAX_REQUEST_BYTES_IN_FLIGHT, MAX_REQUESTS_IN_FLIGHT } from "./limits.ts";
import type { Environment } from "./link.ts";
import { QuorumCoordinator } from "./quorum-coordinator.ts";

const CALLER = { tenant: 1, replicationFactor: 3, defaultConsistency: "quorum", canWrite: true } as Caller;

class Stalled implements Environment {
  readonly replicaTimeoutMs = 1000;
  readonly timers = new Set<() => void>();
  nowMs = 0;
  #turn: (() => void)[] = [];
  readonly now = (): number => this.nowMs;
  readonly called: string[] = [];
  call = (nodeId: string): Promise<Uint8Array> => {
    this.called.push(nodeId);
    return new Promise(() => undefined);
  };
  schedule(run: () => void): void {
    this.#turn.push(run);
  }
  setTimer(_: number, run: () => void): unknown {
    this.timers.add(run);
    return run;
  }
  clearTimer(timer: unknown): void {
    this.timers.delete(timer as () => void);
  }
  endTurn(): void {
    for (const run of this.#turn.splice(0)) run();
  }
}

function setUp() {
  const environment = new Stalled();
  const coordinator = new QuorumCoordinator(environment);
  const nodes = [1, 2, 3].map((number) => ({
    id: `n${number}`,
    number,
    zone: `z${number}`,
    state: "active",
    weight: 1,
  }));
  coordinator.useView({ revision: 1, nodes } as never);
  const answers: SessionAnswer[] = [];
  let id = 0;
  const put = (value: Uint8Array): void => {
    id++;
    const writeId = new Uint8Array(16);
    new DataView(writeId.buffer).setUint32(0, id);
    coordinator.submit(CALLER, { id, op: "put", key: `k${id}`, value, writeId }, (answer) => answers.push(answer));
  };
  return { environment, coordinator, answers, put };
}

describe("bounds of the coordinator", () => {
  it("[RP-70] one request more than the bound is refused at once as overloaded; room comes back with the answers", () => {
    const { environment, coordinator, answers, put } = setUp();
    for (let i = 0; i < MAX_REQUESTS_IN_FLIGHT; i++) put(new Uint8Array(1));
    expect(answers).toEqual([]);
    put(new Uint8Array(1));
    expect(answers).toMatchObject([{ id: MAX_REQUESTS_IN_FLIGHT + 1, kind: "error", code: "overloaded" }]);

    for (let round = 0; coordinator.inFlight > 0; round++) {
      expect(round).toBeLessThan(100);
      environment.endTurn();
      environment.nowMs += 1001;
      for (const run of [...environment.timers]) run();
    }
    expect(answers.length).toBe(MAX_REQUESTS_IN_FLIGHT + 1);
    put(new Uint8Array(1));
    expect(coordinator.inFlight + answers.length).toBe(MAX_REQUESTS_IN_FLIGHT + 2);
  });

  it("[RP-70] so are values beyond the bound of bytes", () => {
    const { answers, put } = setUp();
    const value = new Uint8Array(1024 * 1024);
    const room = MAX_REQUEST_BYTES_IN_FLIGHT / value.length;
    for (let i = 0; i < room; i++) put(value);
    const refusedBefore = answers.length;
    put(value);
    expect(answers.length).toBe(refusedBefore + 1);
    expect(answers.at(-1)).toMatchObject({ kind: "error", code: "overloaded" });
  });
});

describe("a coordinator whose ring changes", () => {
  it("[RP-15] [RP-124] a clock that names a node which left is taken; one of a node that never was is refused", () => {
    const { coordinator, answers } = setUp();
    const left = { id: "n2", number: 2, zone: "z2", state: "removed", weight: 1, incarnation: 1 };
    const nodes = [1, 3, 4].map((number) => ({ ...left, id: `n${number}`, number, state: "active" }));
    coordinator.useView({ revision: 2, nodes: [...nodes, left], ring: { revision: 3 } } as never);
    const putAfter = (number: number): void => {
      const clock = { vector: [{ actor: number * INCARNATIONS_PER_NODE + 1, counter: 5 }], dots: [], time: 0 };
      const writeId = new Uint8Array(16).fill(number);
      const request = { id: number, op: "put", key: "k", value: new Uint8Array(1), writeId, clock } as const;
      coordinator.submit(CALLER, request, (answer) => answers.push(answer));
    };
    putAfter(2);
    expect([answers, coordinator.inFlight]).toEqual([[], 1]);
    putAfter(9);
    expect(answers).toMatchObject([{ id: 9, kind: "error", code: "malformedClock" }]);
  });

  it("[RP-117] a vote is held by the ring that its call began with", () => {
    const { environment, coordinator } = setUp();
    const before = coordinator.ring;
    const writeId = new Uint8Array(16).fill(7);
    const vote = (ring: Ring) =>
      coordinator.votePlace({ tenant: 1, writeId, route: { replicationFactor: 3 }, ring }).sets.write.toSorted();
    const request = {
      id: 1,
      op: "put",
      key: "k",
      value: new Uint8Array(1),
      writeId,
      bodyHash: new Uint8Array(32),
    } as const;
    coordinator.submit(CALLER, request, () => undefined);
    const nodes = [4, 5, 6].map((number) => ({
      ...{ id: `n${number}`, number, zone: `z${number}`, state: "active", weight: 1, incarnation: 1 },
    }));
    coordinator.useView({ revision: 2, nodes, ring: { revision: 1 } } as never);
    expect([vote(before), vote(coordinator.ring)]).toEqual([
      ["n1", "n2", "n3"],
      ["n4", "n5", "n6"],
    ]);
    // What is asked in this turn, and again after its timers, goes to those alone whom the call knows.
    for (let round = 0; round < 3; round++) environment.endTurn();
    expect(environment.called.length).toBeGreaterThan(0);
    expect(environment.called.filter((id) => !["n1", "n2", "n3"].includes(id))).toEqual([]);
  });
});
