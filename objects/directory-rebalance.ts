// Looks now and then whether storage nodes hold what they should for their weights, and re-weighs one where they do not (cluster/rebalance.ts).
// Guarantees: nothing while the policy is `off`, while a change of the ring is open, or while a node does not say what it holds; what is done is in the commit
// that notes it. Must not: own an alarm, or know how data moves.
import {
  capacitiesOf,
  planRebalance,
  type RebalancePolicy,
  type RebalanceRecord,
  type RebalanceStep,
} from "../src/cluster/rebalance.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import type { DirectoryRing } from "./directory-ring.ts";
import type { DirectoryStore, NewEvent } from "./directory-store.ts";
import type { Env } from "./env.ts";
import type { TurnQueue } from "./turn-queue.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;
/** Skew must be seen so often, one look after the other: tables that wait to be merged pass. */
const LOOKS = 2;
/** What a node holds, as it reports it. */
const SIZES = ["jade_storage_table_bytes", "jade_storage_memtable_bytes"] as const;

export interface RebalanceSettings {
  readonly policy: RebalancePolicy;
  readonly above: number;
  readonly everyMs: number;
  readonly keysPerSecond: number;
  readonly leastBytes: number;
}

export interface DirectoryRebalanceOptions {
  readonly env: () => Env;
  readonly store: DirectoryStore;
  readonly turns: TurnQueue;
  readonly ring: Pick<DirectoryRing, "order">;
  readonly log: Logger;
  readonly rules: () => RebalanceSettings;
}

export class DirectoryRebalance {
  readonly #options: DirectoryRebalanceOptions;

  constructor(options: DirectoryRebalanceOptions) {
    this.#options = options;
  }

  /** When `step` should be called next. */
  nextAtMs(nowMs: number): number | null {
    const { store, rules } = this.#options;
    const { policy, everyMs } = rules();
    return policy === "off" ? null : Math.max(nowMs, store.rebalance.lookedAtMs + everyMs);
  }

  /** Never throws. */
  async step(): Promise<void> {
    const { store, turns, rules, log } = this.#options;
    const nowMs = Date.now();
    const dueMs = this.nextAtMs(nowMs);
    if (dueMs === null || dueMs > nowMs) return;
    try {
      const found = await this.#look();
      await turns.run(() => {
        const event = this.#take(found, nowMs);
        if (event) store.addEvents([event]);
      });
    } catch (error) {
      log.warn("storage nodes not compared", { policy: rules().policy }, error);
      await turns.run(() => store.saveRebalance({ ...store.rebalance, lookedAtMs: nowMs, seen: 0 }));
    }
  }

  /** Undefined = all is even, or nothing may be done now. */
  async #look(): Promise<RebalanceStep | undefined> {
    const { store, rules } = this.#options;
    const nodes = store.nodes().filter(({ state }) => state !== "removed");
    if (store.ring.open().length > 0 || nodes.some(({ state }) => state !== "active")) return undefined;
    const bytes = new Map(await Promise.all(nodes.map(async ({ id }) => [id, await this.#bytesOf(id)] as const)));
    const { above, leastBytes } = rules();
    const capacities = capacitiesOf(nodes, store.rebalance.weights);
    const replicationFactor = Math.max(1, ...store.factors());
    return planRebalance({ nodes, bytes, capacities, replicationFactor, above, leastBytes }, Math.random);
  }

  async #bytesOf(nodeId: string): Promise<number> {
    const namespace = this.#options.env().KEY_VALUE_REPLICA;
    const asked = namespace.get(namespace.idFromName(nodeId)).metrics();
    const metrics = await withDeadline(asked, CALL_TIMEOUT_MS, nodeId);
    return SIZES.reduce((sum, name) => sum + (metrics[`${name}{node="${nodeId}"}`] ?? 0), 0);
  }

  /** In a turn. */
  #take(found: RebalanceStep | undefined, nowMs: number): NewEvent | undefined {
    const { store, rules } = this.#options;
    const held = store.rebalance;
    const seen = found ? held.seen + 1 : 0;
    const looked = { ...held, lookedAtMs: nowMs, seen, told: found ? held.told : "" };
    store.saveRebalance(looked);
    const { policy } = rules();
    if (!found || seen < LOOKS || policy === "off") return undefined;
    const { nodeId, weight, skew, expectedSkew } = found;
    const { zone } = store.nodes().find(({ id }) => id === nodeId)!;
    const about = `a storage node holds ${skew.toFixed(2)} times its share; weight ${weight} of ${nodeId} would make it ${expectedSkew.toFixed(2)}`;
    const event = { kind: "rebalanceDue", zone, incarnation: 0, atMs: nowMs, plan: [] } as const;
    if (policy === "act") return this.#act(found, { ...event, message: about }, looked);
    const told = `${nodeId} ${weight}`;
    if (held.told === told) return undefined;
    store.saveRebalance({ ...looked, told });
    return { ...event, outcome: "planned", message: about };
  }

  #act({ nodeId, weight }: RebalanceStep, event: NewEvent, looked: RebalanceRecord): NewEvent {
    const { store, ring, rules } = this.#options;
    const node = store.nodes().find(({ id }) => id === nodeId)!;
    const { keysPerSecond } = rules();
    const ordered = ring.order({ kind: "weigh", nodeId, weight, keysPerSecond }, event.atMs);
    if (!ordered.ok) {
      store.saveRebalance({ ...looked, seen: 0 });
      return { ...event, outcome: "notPossible", message: `${event.message}; nothing is done: ${ordered.message}` };
    }
    const capacity = capacitiesOf([node], looked.weights).get(nodeId) ?? node.weight;
    const weights = { ...looked.weights, [nodeId]: { capacity, from: node.weight, to: weight } };
    store.saveRebalance({ ...looked, seen: 0, weights });
    const { operationId } = ordered.value;
    return { ...event, outcome: "begun", operationId, message: `${event.message}; operation ${operationId} gives it` };
  }
}
