// The shipped driver of changes of the ring in a world whose faults a test chooses itself.
import type { StorageNode } from "../../../src/access/types.ts";
import { joiningNode, type RingTarget } from "../../../src/cluster/ring-target.ts";
import { RING_TENANT } from "../../../src/replication/fence.ts";
import {
  beginRingChange,
  type RingChange,
  type RingChanging,
  type RingEnvironment,
  stepRingChange,
} from "../../../src/replication/ring-change.ts";
import { readPage, writePageRequest } from "../../../src/replication/sync-frames.ts";
import type { World } from "./world.ts";

const FACTOR = 3;

export class RingDriver {
  readonly world: World;
  changing: RingChanging;
  ended: RingChange | undefined;
  /** Called with each request to record, before the node gets it. */
  beforeRecord: (nodeId: string, revision: number) => void = () => undefined;
  stallMs = 1_000_000;
  /** Nodes that nobody expects back. */
  readonly gone = new Set<string>();

  constructor(world: World) {
    this.world = world;
    const nodes = [...world.nodes.values()].map(({ info }) => info);
    this.changing = { nodes, ring: { revision: 0 }, change: undefined };
    world.publish(nodes, { revision: 0 });
  }

  /** n4 in the zone of n1, with many places. */
  add(): void {
    const { nodes } = this.changing;
    const number = nodes.length + 1;
    const joining: StorageNode = joiningNode(nodes, { id: `n${number}`, number, zone: "z1", weight: 1 }, () =>
      this.world.random.next(),
    );
    this.begin({ kind: "add", nodeId: joining.id, joining });
  }

  begin(target: RingTarget, graceMs = 0): void {
    this.changing = beginRingChange(this.changing, { target, graceMs }, this.world.nowMs);
  }

  /** Steps until `isThere`. */
  async until(isThere: () => boolean): Promise<void> {
    for (let i = 0; i < 2000 && !isThere(); i++) {
      const step = stepRingChange(this.#environment);
      let isOver = false;
      void step.finally(() => {
        isOver = true;
      });
      for (let j = 0; j < 500 && !isOver; j++) await this.world.run(10);
      await this.world.run(5);
    }
    if (!isThere())
      throw new Error(`the ring is ${JSON.stringify(this.changing.ring)}: ${this.changing.change?.waitingFor}`);
  }

  step(): Promise<number | undefined> {
    return stepRingChange(this.#environment);
  }

  get #environment(): RingEnvironment {
    const { world } = this;
    const reached = <T>(nodeId: string, work: () => Promise<T>): Promise<T> =>
      world.node(nodeId).isUp && !world.cut.has(nodeId) ? work() : Promise.reject(new Error(`${nodeId} is away`));
    return {
      load: () => this.changing,
      save: (changing) => {
        const before = this.changing;
        this.changing = changing;
        if (before.ring !== changing.ring || before.nodes !== changing.nodes)
          world.publish(changing.nodes, changing.ring);
      },
      finish: (changing, change) => {
        this.changing = changing;
        this.ended = change;
        world.publish(changing.nodes, changing.ring);
      },
      record: async (nodeId, routeRevision) => {
        this.beforeRecord(nodeId, routeRevision);
        const of = { tenant: RING_TENANT, routeRevision, from: 0, to: 0, limit: 0 };
        const page = reached(nodeId, () => world.node(nodeId).page(writePageRequest({ kind: "rows", ...of })));
        return !readPage(await page).isRebuilding;
      },
      sync: (nodeId, { kind, work }) =>
        reached(nodeId, async () => world.node(nodeId).sync.runner.wantRing(kind, work)),
      keepsHints: async () => false,
      isGone: (nodeId) => this.gone.has(nodeId),
      factors: () => [FACTOR],
      now: () => world.nowMs,
      stallMs: this.stallMs,
    };
  }
}
