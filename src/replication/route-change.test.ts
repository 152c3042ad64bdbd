// The steps of a change against nodes made by hand, some of them away.
import { describe, expect, it } from "vitest";
import type { StorageNode } from "../access/types.ts";
import { Ring } from "../cluster/ring.ts";
import { beginChange, type ChangeEnvironment, type Changing, cancelChange, stepChange } from "./route-change.ts";

const NODES: readonly StorageNode[] = ["n1", "n2", "n3"].map((id, i) => ({
  id,
  number: i + 1,
  incarnation: 1,
  zone: `z${i + 1}`,
  weight: 1,
  state: "active",
}));

/** What the nodes have recorded; those that are away record nothing. */
class Nodes {
  readonly recorded = new Map(NODES.map(({ id }) => [id, 0]));
  readonly away = new Set<string>();
  /** Called with each request to record, before the node gets it. */
  beforeRecord: (id: string, revision: number) => void | Promise<void> = () => undefined;
  changing: Changing;
  readonly environment: ChangeEnvironment = {
    tenant: 1,
    ring: async () => new Ring(NODES),
    recordRoute: async (id, revision) => {
      await this.beforeRecord(id, revision);
      if (this.away.has(id)) throw new Error(`${id} is away`);
      this.recorded.set(id, Math.max(revision, this.recorded.get(id)!));
    },
    sync: async (id) => Promise.reject(new Error(`${id} is not asked here`)),
    endSync: async () => undefined,
    now: () => 0,
    load: () => this.changing,
    save: (changing) => {
      this.changing = changing;
    },
  };

  constructor(factor: number, to: number) {
    this.changing = beginChange({ route: { replicationFactor: factor }, change: undefined }, to, 0);
  }
}

describe("announcing a route", () => {
  it.each([
    [1, 3],
    [2, 3],
    [2, 1],
  ])(
    "[RP-94] while too few are there for it (%i to %i) nobody records it, so that the tenant goes on by the route before",
    async (from, to) => {
      const nodes = new Nodes(from, to);
      nodes.away.add("n3");
      await stepChange(nodes.environment);
      expect([...nodes.recorded.values()]).toEqual([0, 0, 0]);
      expect(nodes.changing.change).toMatchObject({
        announcing: "filling",
        waitingFor: expect.stringContaining("n3 is away"),
      });
      nodes.away.clear();
      await stepChange(nodes.environment);
      expect([...nodes.recorded.values()]).toEqual([1, 1, 1]);
      expect(nodes.changing.route).toEqual({
        replicationFactor: from,
        routeRevision: 1,
        change: { to, phase: "filling" },
      });
    },
  );

  it("[RP-40] [RP-94] with three replicas one may be away: a majority of every range is there", async () => {
    const nodes = new Nodes(3, 2);
    nodes.away.add("n3");
    await stepChange(nodes.environment);
    expect([...nodes.recorded.values()]).toEqual([1, 1, 0]);
    expect(nodes.changing.route.routeRevision).toBe(1);
  });

  it("[RP-100] a node that dies between the question and the recording stops the change, not the keys of the others", async () => {
    const nodes = new Nodes(1, 3);
    nodes.beforeRecord = (_, revision) => void (revision > 0 && nodes.away.add("n3"));
    await stepChange(nodes.environment);
    expect([...nodes.recorded.values()]).toEqual([1, 1, 0]);
    // Who recorded 1 refuses 0: requests get the replicas they had, by 1.
    expect(nodes.changing.route).toEqual({ replicationFactor: 1, routeRevision: 1 });
    expect(nodes.changing.change).toMatchObject({ announcing: "filling", waitingFor: expect.stringContaining("n3") });
    // As long as it is away nothing more is recorded, and no revision is used up.
    await stepChange(nodes.environment);
    expect(nodes.changing.route.routeRevision).toBe(1);
    nodes.beforeRecord = () => undefined;
    nodes.away.clear();
    await stepChange(nodes.environment);
    expect([...nodes.recorded.values()]).toEqual([2, 2, 2]);
    expect(nodes.changing.route).toEqual({
      replicationFactor: 1,
      routeRevision: 2,
      change: { to: 3, phase: "filling" },
    });
  });

  it("[RP-100] so does a driver that dies while the nodes record, with a node away when it is back", async () => {
    const nodes = new Nodes(1, 3);
    // The first driver never hears anything again.
    nodes.beforeRecord = (id, revision) => {
      if (id === "n3" && revision > 0) return new Promise<void>(() => undefined);
    };
    void stepChange(nodes.environment);
    await expect.poll(() => [...nodes.recorded.values()]).toEqual([1, 1, 0]);
    expect(nodes.changing.route.routeRevision ?? 0).toBe(0);
    nodes.away.add("n3");
    nodes.beforeRecord = () => undefined;
    await stepChange(nodes.environment);
    expect(nodes.changing.route).toEqual({ replicationFactor: 1, routeRevision: 1 });
    expect([...nodes.recorded.values()]).toEqual([1, 1, 0]);
  });

  it("[RP-100] a change called off while the nodes record ends under a later revision", async () => {
    const nodes = new Nodes(3, 2);
    nodes.beforeRecord = (_, revision) => {
      if (revision === 1) nodes.changing = cancelChange(nodes.changing);
    };
    await stepChange(nodes.environment);
    await stepChange(nodes.environment);
    expect(nodes.changing).toEqual({ route: { replicationFactor: 3, routeRevision: 2 }, change: undefined });
    expect([...nodes.recorded.values()]).toEqual([2, 2, 2]);
  });
});
