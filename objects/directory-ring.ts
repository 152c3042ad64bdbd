// Changes of the storage nodes, carried out one after the other (replication/ring-change.ts): which may be asked for, and the way to nodes.
// Guarantees: what was asked for goes on after any crash, or is called off; none begins while a full repair runs or a tenant's replication
// factor changes, and those wait for it. Must not: decide how data moves, or own an alarm.

import type { DirectoryView } from "../src/access/types.ts";
import { clusterPlace } from "../src/cluster/placement.ts";
import { type PlannedOperation, planOperation, type RingRequest } from "../src/cluster/ring-operations.ts";
import { joiningNode, nextOfWeight, type RingTarget } from "../src/cluster/ring-target.ts";
import type { Settings } from "../src/cluster/settings.ts";
import { RING_TENANT } from "../src/replication/fence.ts";
import { RECORD_ROUTE_TIMEOUT_MS } from "../src/replication/limits.ts";
import {
  beginRingChange,
  cancelRingChange,
  mayCancel,
  type RingChange,
  type RingChanging,
  type RingEnvironment,
  stepRingChange,
} from "../src/replication/ring-change.ts";
import { readPage, writePageRequest } from "../src/replication/sync-frames.ts";
import { CANCELLED_BY_HAND, type OperationRecord } from "./directory-ring-store.ts";
import type { DirectoryStore } from "./directory-store.ts";
import type { Env } from "./env.ts";
import type { RingHold } from "./rpc.ts";
import { failure, type RingOperationInfo, type RingOrder, type RpcResult, type TenantAdminRpc } from "./tenancy-rpc.ts";
import type { TurnQueue } from "./turn-queue.ts";
import { withDeadline } from "./with-deadline.ts";

/** Longest a node or a tenant may take for a call. Ms. */
const CALL_TIMEOUT_MS = 5000;
/** Most others have found its instance failed for so long: a restart takes seconds. Ms. */
const GONE_AFTER_MS = 60_000;
/** How often one that waits looks whether it may begin. Ms. */
const WAITING_POLL_MS = 1000;

export interface DirectoryRingOptions {
  /** As they are now. */
  readonly env: () => Env;
  readonly store: DirectoryStore;
  readonly turns: TurnQueue;
  readonly settings: () => Settings;
}

export class DirectoryRing {
  readonly #options: DirectoryRingOptions;
  #dueMs = 0;

  constructor(options: DirectoryRingOptions) {
    this.#options = options;
  }

  /** When `step` should be called next. */
  nextAtMs(nowMs: number): number | null {
    const { ring } = this.#options.store;
    return ring.runningId !== undefined || ring.waiting() ? Math.max(nowMs, this.#dueMs) : null;
  }

  #node(nodeId: string) {
    const namespace = this.#options.env().KEY_VALUE_REPLICA;
    return namespace.get(namespace.idFromName(nodeId));
  }

  #zones(): readonly string[] {
    const { env, settings } = this.#options;
    const place = clusterPlace(env().JADE_CLUSTER);
    return place?.zones ?? Array.from({ length: settings().storage.zones }, (_, i) => `z${i + 1}`);
  }

  #plan(request: RingRequest, isOpen: (operationId: number) => boolean) {
    const { env, store } = this.#options;
    return planOperation(request, {
      nodes: store.nodes(),
      open: store.ring.open().filter(({ operationId }) => isOpen(operationId)),
      zones: this.#zones(),
      replicationFactor: Math.max(0, ...store.factors()),
      nextNumber: store.ring.nextNumber(),
      isCluster: clusterPlace(env().JADE_CLUSTER) !== undefined,
    });
  }

  /** In a turn. */
  order({ graceSeconds, keysPerSecond, ...request }: RingOrder, nowMs: number): RpcResult<RingOperationInfo> {
    const { keyValue } = this.#options.settings();
    const verdict = this.#plan(request, () => true);
    if (!verdict.ok) return failure(verdict.code, verdict.message, verdict.details);
    const graceMs = (graceSeconds ?? keyValue.ringGraceSeconds) * 1000;
    const bound = keysPerSecond ?? keyValue.ringKeysPerSecond;
    this.#dueMs = 0;
    const bounds = { graceMs, ...(bound > 0 ? { keysPerSecond: bound } : {}) };
    return { ok: true, value: this.#options.store.ring.addOperation(verdict.plan, { nowMs, ...bounds }) };
  }

  /** In a turn. */
  cancel(operationId: number, nowMs: number, reason = CANCELLED_BY_HAND): RpcResult<RingOperationInfo> {
    const { ring } = this.#options.store;
    const held = ring.operation(operationId);
    if (!held) return failure("notFound", `there is no operation ${operationId}`, { field: "id", value: operationId });
    if (held.state === "waiting") {
      ring.changeOperation(operationId, { state: "cancelled", reason, finishedAtMs: nowMs });
      return { ok: true, value: ring.operation(operationId)! };
    }
    const changing = ring.changing();
    if (ring.runningId !== operationId || !changing.change || !mayCancel(changing.change)) {
      const message = `operation ${operationId} is ${held.state} and can not be called off any more; a change the other way takes it back`;
      return failure("conflict", message, { field: "id", value: operationId, state: held.state });
    }
    ring.save(cancelRingChange(changing, reason), { operationId });
    return { ok: true, value: ring.operation(operationId)! };
  }

  holdRing(hold: RingHold, view: () => DirectoryView): { isHeld: boolean; view: DirectoryView } {
    const { store } = this.#options;
    const isHeld = !store.ring.isMoving;
    if (isHeld) {
      store.ring.hold(hold);
      store.saveFactor(hold.tenant, hold.replicationFactor);
    }
    return { isHeld, view: view() };
  }

  releaseRing(hold: RingHold): void {
    const { store } = this.#options;
    store.ring.release(hold);
    store.saveFactor(hold.tenant, hold.replicationFactor);
  }

  async step(): Promise<void> {
    const { ring } = this.#options.store;
    if (this.#dueMs > Date.now()) return;
    const waiting = ring.waiting();
    if (ring.runningId === undefined && waiting) await this.#begin(waiting.operationId, waiting.record);
    const delayMs = ring.runningId === undefined ? undefined : await stepRingChange(this.#environment(ring.runningId));
    this.#dueMs = Date.now() + (delayMs ?? (ring.waiting() ? WAITING_POLL_MS : 0));
  }

  async #begin(operationId: number, { plan, graceMs, keysPerSecond }: OperationRecord): Promise<void> {
    const { store, turns } = this.#options;
    const { ring } = store;
    await this.#askHolders();
    await turns.run(() => {
      const nowMs = Date.now();
      const repair = store.runningRepair();
      const holders = ring.holds().map(({ tenant }) => store.tenant(tenant)?.plan.tenantId ?? `number ${tenant}`);
      const waitingFor =
        repair?.kind === "full" && store.hasBegun(repair.repairId)
          ? `repair ${repair.repairId} is under way`
          : holders.length > 0
            ? `the replication factor of ${holders.join(", ")} changes`
            : "";
      if (ring.operation(operationId)?.state !== "waiting") return;
      if (waitingFor !== "") return ring.changeOperation(operationId, { waitingFor });
      const verdict = this.#plan(plan, () => false);
      // What was granted by the ring that another change was to lead to may be wrong by the one it led to.
      if (plan.kind !== "add" && !verdict.ok) {
        return ring.changeOperation(operationId, { state: "failed", reason: verdict.message, finishedAtMs: nowMs });
      }
      const changing = beginRingChange(ring.changing(), { target: this.#target(plan), graceMs, keysPerSecond }, nowMs);
      ring.save(changing, { operationId });
    });
  }

  /** With all that is chosen at random, once. */
  #target({ kind, nodeId, others, joining, weight }: PlannedOperation): RingTarget {
    const nodes = this.#options.store.nodes();
    const node = nodes.find(({ id }) => id === nodeId);
    if (joining) return { kind, nodeId, joining: joiningNode(nodes, { ...joining, inPlaceOf: node }, Math.random) };
    if (kind === "remove") return { kind, nodeId, others };
    return { kind, nodeId, next: nextOfWeight(nodes, node!, weight ?? node!.weight, Math.random) };
  }

  /** A tenant that changes nothing any more may not have been heard. */
  async #askHolders(): Promise<void> {
    const { env, store, turns } = this.#options;
    const tenants = env().TENANT;
    for (const hold of store.ring.holds()) {
      const object = tenants.get(tenants.idFromName(`t${hold.tenant}`)) as TenantAdminRpc;
      const info = await withDeadline(object.describe(), CALL_TIMEOUT_MS, "Tenant").catch(() => undefined);
      if (info === undefined || info?.changeState) continue;
      const replicationFactor = info?.replicationFactor ?? hold.replicationFactor;
      await turns.run(() => this.releaseRing({ ...hold, replicationFactor }));
    }
  }

  #environment(operationId: number): RingEnvironment {
    const { store, turns, settings } = this.#options;
    const { ring } = store;
    return {
      load: () => ring.changing(),
      save: (changing) => turns.now(() => ring.save(changing, { operationId })),
      finish: (changing, change) => this.#finish(changing, change, operationId),
      record: async (nodeId, routeRevision) => {
        // An empty page: a node records the revision before it answers any.
        const request = writePageRequest({
          kind: "rows",
          tenant: RING_TENANT,
          routeRevision,
          from: 0,
          to: 0,
          limit: 0,
        });
        const page = await withDeadline(this.#node(nodeId).page(request), RECORD_ROUTE_TIMEOUT_MS, nodeId);
        return !readPage(page).isRebuilding;
      },
      sync: (nodeId, sync) => withDeadline(this.#node(nodeId).syncRing(sync), CALL_TIMEOUT_MS, nodeId),
      keepsHints: (nodeId) => {
        const others = store.nodes().flatMap(({ id, state }) => (id === nodeId || state === "removed" ? [] : [id]));
        return withDeadline(this.#node(nodeId).keepsHints(others), CALL_TIMEOUT_MS, nodeId);
      },
      isGone: (nodeId) => this.#isGone(nodeId, operationId),
      factors: () => store.factors(),
      now: Date.now,
      stallMs: settings().keyValue.ringStallSeconds * 1000,
    };
  }

  /** Its instance has failed for a while, or for so long that this operation removes its nodes. */
  #isGone(nodeId: string, operationId: number): boolean {
    const { store } = this.#options;
    const zone = store.nodes().find(({ id }) => id === nodeId)?.zone;
    const absence = store.absences().find((each) => each.zone === zone);
    return (
      absence !== undefined && (absence.operationId === operationId || Date.now() - absence.sinceMs >= GONE_AFTER_MS)
    );
  }

  #finish(changing: RingChanging, change: RingChange, operationId: number): void {
    const { store, turns } = this.#options;
    const left = store.nodes().filter(({ state }) => state === "leaving");
    turns.now(() => store.ring.save(changing, { operationId, ended: { ...change, atMs: Date.now() } }));
    // The call ends with its object; who can not be reached is called by nobody any more.
    const gone = left.filter(({ id }) => changing.nodes.some((node) => node.id === id && node.state === "removed"));
    for (const { id } of gone)
      void this.#node(id)
        .retire()
        .catch(() => undefined);
  }
}
