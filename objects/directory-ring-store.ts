// What the Directory holds of changes of the storage nodes: the ring's revision, operations, and who wants the ring to stay as it is.
// Guarantees: synchronous; every method is one step of a turn; a node's number is given once. Must not: call other objects or read a clock.
import type { RingState, StorageNode } from "../src/access/types.ts";
import type { OpenOperation, PlannedOperation } from "../src/cluster/ring-operations.ts";
import type { RingTarget } from "../src/cluster/ring-target.ts";
import type { ChangeProgress } from "../src/replication/fenced-change.ts";
import type { RingChange, RingChanging } from "../src/replication/ring-change.ts";
import { type EventRecord, KEYS, type NodeRecord, numberOf } from "./directory-keys.ts";
import type { DirectoryRecords, RecordWrite } from "./directory-records.ts";
import type { RingHold } from "./rpc.ts";
import type { RingOperationInfo, RingOperationState } from "./tenancy-rpc.ts";

/** Operations that are remembered. */
const MAX_OPERATIONS = 100;

interface RingRecord {
  readonly ring: RingState;
  readonly operationId?: number | undefined;
  readonly change?: RingChange | undefined;
}

export interface OperationRecord {
  readonly plan: PlannedOperation;
  readonly state: RingOperationState;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  readonly reason: string;
  readonly waitingFor: string;
  readonly progress: ChangeProgress;
  readonly graceMs: number;
  readonly keysPerSecond?: number | undefined;
  readonly uncleaned: readonly string[];
}

const NO_PROGRESS: ChangeProgress = { nodesDone: 0, nodeCount: 0, rowsCompared: 0, rowsRepaired: 0, recordsTaken: 0 };
const OPEN: ReadonlySet<RingOperationState> = new Set(["waiting", "filling", "joint", "switching", "cleaning"]);

function infoOf(operationId: number, { plan, graceMs, keysPerSecond, ...record }: OperationRecord): RingOperationInfo {
  const { kind, nodeId, others = [], joining, weight } = plan;
  const { rangesDone = 0, rangeCount = 0, rowsCompared, rowsRepaired, bytesRepaired = 0, ...nodes } = record.progress;
  return {
    ...{
      operationId,
      kind,
      nodeId,
      otherIds: others,
      joiningId: joining?.id ?? null,
      weight: joining?.weight ?? weight ?? null,
    },
    ...record,
    graceSeconds: graceMs / 1000,
    keysPerSecond: keysPerSecond ?? null,
    progress: {
      ...{ nodesDone: nodes.nodesDone, nodeCount: nodes.nodeCount, rangesDone, rangeCount },
      ...{ keysCompared: rowsCompared, keysMoved: rowsRepaired, bytesMoved: bytesRepaired },
    },
  };
}

function stateOf({ ring }: RingChanging, change: RingChange): RingOperationState {
  if (change.step === "cleaning") return "cleaning";
  return change.announcing && ring.phase ? "switching" : (ring.phase ?? "filling");
}

/** What is told of a change: nothing while it is on its way. */
function eventOf(
  operationId: number,
  before: OperationRecord,
  after: OperationRecord,
): Omit<EventRecord, "zone"> | undefined {
  const { kind, nodeId, others = [], joining } = after.plan;
  const nodes = [nodeId, ...others].join(", ");
  const what = `${kind} ${nodes}${kind === "replace" && joining ? ` by ${joining.id}` : ""}`;
  const common = { incarnation: 0, operationId, plan: [] };
  if (OPEN.has(before.state) && !OPEN.has(after.state)) {
    const why = after.reason === "" ? "" : ` (${after.reason})`;
    const moved = after.state === "finished" ? `, ${after.progress.rowsRepaired} keys moved` : "";
    const message = `operation ${operationId} (${what}) is ${after.state}${why}${moved}`;
    return { ...common, kind: "operationEnded", atMs: after.finishedAtMs!, message };
  }
  if (before.state !== "waiting" || after.state === "waiting") return undefined;
  return {
    ...common,
    kind: "operationBegun",
    atMs: after.startedAtMs!,
    message: `operation ${operationId} (${what}) begins`,
  };
}

interface RingStoreWays {
  readonly nodes: () => readonly NodeRecord[];
  /** Notes an event of the cluster, in the same step. */
  readonly note: (event: EventRecord) => void;
}

export class DirectoryRingStore {
  readonly #records: DirectoryRecords;
  readonly #nodes: () => readonly NodeRecord[];
  readonly #note: (event: EventRecord) => void;

  constructor(records: DirectoryRecords, ways: RingStoreWays) {
    this.#records = records;
    this.#nodes = ways.nodes;
    this.#note = ways.note;
  }

  get #record(): RingRecord {
    return this.#records.get<RingRecord>(KEYS.ring) ?? { ring: { revision: 0 } };
  }

  get state(): RingState {
    return this.#record.ring;
  }

  changing(): RingChanging {
    const { ring, change } = this.#record;
    const nodes = this.#nodes().map(({ served: _, ...node }): StorageNode => node);
    return { ring, nodes: nodes.sort((a, b) => a.number - b.number), change };
  }

  /** Data moves: replication factors and full repairs wait. */
  get isMoving(): boolean {
    return this.#record.change?.step === "moving";
  }

  get runningId(): number | undefined {
    return this.#record.change && this.#record.operationId;
  }

  /** Ring, nodes and operation, in one step; `ended` = the change is over. */
  save(
    changing: RingChanging,
    { operationId, ended }: { operationId: number; ended?: RingChange & { atMs: number } },
  ): void {
    const { ring, nodes, change } = changing;
    const held = new Map(this.#nodes().map((node) => [node.id, node]));
    const writes: RecordWrite[] = [];
    for (const node of nodes) {
      const before = held.get(node.id);
      const value: NodeRecord = { ...node, served: before?.served ?? false };
      if (JSON.stringify(before) !== JSON.stringify(value)) writes.push({ key: KEYS.node(node.id), value });
    }
    const isNew = writes.length > 0 || JSON.stringify(ring) !== JSON.stringify(this.#record.ring);
    if (isNew) writes.push({ key: KEYS.view, value: this.#records.get<number>(KEYS.view)! + 1 });
    const record: RingRecord = change ? { ring, operationId, change } : { ring };
    writes.push({ key: KEYS.ring, value: record });
    const operation = this.#operation(operationId);
    const shown = change ?? ended;
    if (operation && shown) {
      const { progress, waitingFor, reason, startedAtMs } = shown;
      const state = ended ? endOf(ended) : stateOf(changing, shown);
      // What was moved before is told on while nodes delete.
      const told = shown.step === "cleaning" ? operation.progress : withMoved(progress, shown);
      const end = ended ? { finishedAtMs: ended.atMs, uncleaned: ended.uncleaned } : {};
      const value: OperationRecord = { ...operation, state, reason, startedAtMs, waitingFor, progress: told, ...end };
      writes.push({ key: KEYS.operation(operationId), value });
      this.#tell(operationId, operation, value);
    }
    this.#records.write(...writes);
  }

  #tell(operationId: number, before: OperationRecord, after: OperationRecord): void {
    const event = eventOf(operationId, before, after);
    if (!event) return;
    const { nodeId, joining } = after.plan;
    const zone = joining?.zone ?? this.#nodes().find(({ id }) => id === nodeId)?.zone ?? "";
    this.#note({ ...event, zone });
  }

  // Operations

  nextNumber(): number {
    const numbers = this.#nodes().map(({ number }) => number);
    return Math.max(this.#records.get<number>(KEYS.lastNode) ?? 0, ...numbers) + 1;
  }

  addOperation(
    plan: PlannedOperation,
    of: { readonly nowMs: number; readonly graceMs: number; readonly keysPerSecond?: number | undefined },
  ): RingOperationInfo {
    const { nowMs, ...bounds } = of;
    const id = (this.#records.get<number>(KEYS.lastOperation) ?? 0) + 1;
    const times = { createdAtMs: nowMs, startedAtMs: null, finishedAtMs: null };
    const record: OperationRecord = {
      ...{ plan, state: "waiting", ...times, ...bounds },
      ...{ reason: "", waitingFor: "", progress: NO_PROGRESS, uncleaned: [] },
    };
    this.#records.write(
      { key: KEYS.lastOperation, value: id },
      { key: KEYS.operation(id), value: record },
      { key: KEYS.operation(Math.max(0, id - MAX_OPERATIONS)) },
      ...(plan.joining ? [{ key: KEYS.lastNode, value: plan.joining.number }] : []),
    );
    return infoOf(id, record);
  }

  #operation(operationId: number): OperationRecord | undefined {
    return this.#records.get<OperationRecord>(KEYS.operation(operationId));
  }

  changeOperation(operationId: number, changes: Partial<OperationRecord>): void {
    const held = this.#operation(operationId);
    if (!held) return;
    const value = { ...held, ...changes };
    this.#records.write({ key: KEYS.operation(operationId), value });
    this.#tell(operationId, held, value);
  }

  operation(operationId: number): RingOperationInfo | undefined {
    const held = this.#operation(operationId);
    return held && infoOf(operationId, held);
  }

  #all(): { readonly id: number; readonly record: OperationRecord }[] {
    const held = this.#records.list<OperationRecord>(KEYS.operations);
    return held.map(({ key, value }) => ({ id: numberOf(key), record: value }));
  }

  /** Newest first. */
  operations(): RingOperationInfo[] {
    return this.#all()
      .map(({ id, record }) => infoOf(id, record))
      .reverse();
  }

  /** As those see them that ask for another. */
  open(): OpenOperation[] {
    const { change } = this.#record;
    return this.#all().flatMap(({ id, record }) => {
      if (!OPEN.has(record.state)) return [];
      const { kind, nodeId, others, joining } = record.plan;
      const planned = joining && { ...joining, incarnation: 0, state: "bootstrapping" as const };
      const target: RingTarget = { kind, nodeId, others, joining: planned };
      return [{ operationId: id, target: id === this.runningId && change ? change.target : target }];
    });
  }

  /** The one that is next. */
  waiting(): { readonly operationId: number; readonly record: OperationRecord } | undefined {
    const first = this.#all().find(({ record }) => record.state === "waiting");
    return first && { operationId: first.id, record: first.record };
  }

  // Who wants the ring to stay

  holds(): RingHold[] {
    return this.#records.list<RingHold>(KEYS.holds).map(({ value }) => value);
  }

  hold(hold: RingHold): void {
    const held = this.#records.get<RingHold>(KEYS.hold(hold.tenant));
    if (JSON.stringify(held) !== JSON.stringify(hold))
      this.#records.write({ key: KEYS.hold(hold.tenant), value: hold });
  }

  /** Of this change of the tenant; a later one keeps its own. */
  release({ tenant, startedAtMs }: RingHold): void {
    const held = this.#records.get<RingHold>(KEYS.hold(tenant));
    if (held?.startedAtMs === startedAtMs) this.#records.write({ key: KEYS.hold(tenant) });
  }
}

function withMoved(progress: ChangeProgress, { movedBefore }: RingChange): ChangeProgress {
  const rowsRepaired = progress.rowsRepaired + movedBefore.rows;
  return { ...progress, rowsRepaired, bytesRepaired: (progress.bytesRepaired ?? 0) + movedBefore.bytes };
}

function endOf({ isCancelled, reason }: RingChange): RingOperationState {
  if (!isCancelled) return "finished";
  return reason === CANCELLED_BY_HAND ? "cancelled" : "rolledBack";
}

export const CANCELLED_BY_HAND = "called off by hand";
