// What `jade-db cluster autoscale` does at each look: reads the cluster, has it judged (cluster/scaling.ts), and carries a decision out.
// Guarantees: without `act` nothing is changed; an instance is stopped only when its storage nodes have handed their data over; what fails is told, and judged anew at the next look.
// Must not: know how an instance is started or stopped: a command of the operator's does it.
import type { ClusterInstance, ClusterStatus, JadeClient, NodeOperation } from "../client/index.ts";
import {
  decideScaling,
  type ScalingDecision,
  type ScalingLook,
  type ScalingRules,
  type ScalingState,
} from "../cluster/scaling.ts";

/** Data moves, or is about to. */
const MOVING: ReadonlySet<NodeOperation["state"]> = new Set(["waiting", "filling", "joint", "switching"]);
const OPEN: ReadonlySet<NodeOperation["state"]> = new Set([...MOVING, "cleaning"]);
const POLL_MS = 1000;
/** Until an instance that was started answers. */
const START_MS = 300_000;

/** Of an instance's busiest process, which has one thread; undefined = it was not reached. */
function loadOf({ use }: ClusterInstance): number | undefined {
  const busy = use?.processes.flatMap(({ role, cpuCores }) => (role === "supervisor" ? [] : [cpuCores]));
  return busy && busy.length > 0 ? Math.max(...busy) : undefined;
}

const isThere = ({ gossip, zoneProcess }: ClusterInstance): boolean =>
  gossip?.state === "alive" && gossip.trusted && zoneProcess === "answering";
/** It said good-bye, or was never met by those that run now. */
const isStopped = ({ gossip, zoneProcess }: ClusterInstance): boolean =>
  zoneProcess !== "answering" && (gossip === null || gossip.state === "left");

export function lookOf(
  { instances }: Pick<ClusterStatus, "instances">,
  operations: readonly Pick<NodeOperation, "state">[],
  nowMs: number,
): ScalingLook {
  const isSettled = instances.every((each) => isThere(each) || isStopped(each));
  return {
    nowMs,
    running: new Map(instances.filter(isThere).map((each) => [each.zone, loadOf(each)])),
    stopped: instances.filter(isStopped).map(({ zone }) => zone),
    isChanging: !isSettled || operations.some(({ state }) => MOVING.has(state)),
  };
}

export interface ScalerOptions {
  readonly client: Pick<JadeClient, "cluster" | "clusterNodes">;
  readonly rules: ScalingRules;
  /** Undefined = dry run. Starts or stops the instance of a zone; rejects when it could not. */
  readonly actuate?: ((kind: "start" | "stop", zone: string) => Promise<void>) | undefined;
  readonly tell: (line: string) => void;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<unknown>;
}

export class Scaler {
  readonly #options: ScalerOptions;
  #state: ScalingState = {};
  #told = "";

  constructor(options: ScalerOptions) {
    this.#options = options;
  }

  async look(): Promise<ScalingDecision> {
    const { client, rules, actuate, now } = this.#options;
    const [status, operations] = await Promise.all([client.cluster(), client.clusterNodes.operations()]);
    const { state, decision } = decideScaling(this.#state, lookOf(status, operations, now()), rules);
    this.#state = state;
    this.#tell(decision, actuate === undefined);
    if (decision.kind === "stay" || !actuate) return decision;
    try {
      await (decision.kind === "start" ? this.#start(decision.zone) : this.#drain(decision.zone, status));
    } finally {
      this.#state = { changedAtMs: now() };
    }
    return decision;
  }

  /** Only what is new: loads are not. */
  #tell(decision: ScalingDecision, isDryRun: boolean): void {
    const { tell } = this.#options;
    const what = decision.kind === "stay" ? "stay" : `${decision.kind} ${decision.zone}`;
    if (decision.kind === "stay" && this.#told === what) return;
    this.#told = what;
    tell(`${what}: ${decision.why}${isDryRun && decision.kind !== "stay" ? " (dry run: nothing is done)" : ""}`);
  }

  async #instance(zone: string): Promise<ClusterInstance> {
    const { instances } = await this.#options.client.cluster();
    return instances.find((each) => each.zone === zone)!;
  }

  async #start(zone: string): Promise<void> {
    const { client, actuate, tell, sleep, now } = this.#options;
    await actuate!("start", zone);
    const untilMs = now() + START_MS;
    let instance = await this.#instance(zone);
    while (!isThere(instance)) {
      if (now() > untilMs) throw new Error(`${zone} was started and does not answer after ${START_MS / 1000} s`);
      await sleep(POLL_MS);
      instance = await this.#instance(zone);
    }
    if (instance.nodes.some(({ state }) => state === "active")) return tell(`${zone} is there`);
    const operation = await this.#ended(await client.clusterNodes.add({ zone }), MOVING);
    tell(`${zone} is there; storage node ${operation.nodeId}: ${operation.state}`);
  }

  async #drain(zone: string, { instances }: ClusterStatus): Promise<void> {
    const { client, actuate, tell } = this.#options;
    const nodes = instances.find((each) => each.zone === zone)!.nodes.filter(({ state }) => state === "active");
    for (const { nodeId } of nodes) {
      const { state, reason } = await this.#ended(await client.clusterNodes.remove(nodeId), OPEN);
      if (state !== "finished") return tell(`${zone} stays: the removal of ${nodeId} is ${state} (${reason})`);
    }
    await actuate!("stop", zone);
    tell(`${zone} is drained and stopped`);
  }

  async #ended(operation: NodeOperation, open: ReadonlySet<NodeOperation["state"]>): Promise<NodeOperation> {
    const { client, sleep } = this.#options;
    let held = operation;
    while (open.has(held.state)) {
      await sleep(POLL_MS);
      held = await client.clusterNodes.operation(held.operationId);
    }
    return held;
  }
}
