// Three nodes that compare themselves by the shipped jobs and answers, with replicas over sorted arrays, and a count of what is sent.
// Must not: lose or delay anything (the simulator does).
import type { StorageNode } from "../../../src/access/types.ts";
import { Ring } from "../../../src/cluster/ring.ts";
import { tokenOf } from "../../../src/cluster/token.ts";
import { encodeState, sameBytes } from "../../../src/kv/key-state.ts";
import { DIGEST_ROWS_COMPARED, SYNC_DIGEST_ROWS } from "../../../src/replication/limits.ts";
import { Replica } from "../../../src/replication/replica.ts";
import { compareRows } from "../../../src/replication/scan-frames.ts";
import { readPageRequest } from "../../../src/replication/sync-frames.ts";
import { type SyncEnvironment, SyncJob } from "../../../src/replication/sync-job.ts";
import { answerPage } from "../../../src/replication/sync-source.ts";
import { newSync, type SyncState } from "../../../src/replication/sync-state.ts";
import type { RowKey, ScanOptions, ScanPage, StorageEngine } from "../../../src/storage/types.ts";

const NODES = ["n1", "n2", "n3"];
const TENANT = 7;
const writeId = new Uint8Array(16).fill(1);

/** Of one version; without a value a delete. */
export function stateOf(value: number | undefined, time = 1000): Uint8Array {
  const dots = [{ actor: 8192, counter: time }];
  const bytes = value === undefined ? undefined : Uint8Array.of(value & 255, (value >> 8) & 255, value >> 16);
  return encodeState({
    clock: { vector: [], dots, time },
    unsettled: [],
    versions: [{ writeId, dots, time, value: bytes, restamped: false }],
  });
}

export function rowOf(n: number, tenant: number = TENANT): RowKey {
  return { tenant, key: `key-${n}`, token: tokenOf(tenant, `key-${n}`) };
}

type Stored = ScanPage["rows"][number];

/** The part of an engine that a replica of these tests uses. */
class SortedRows {
  rows: Stored[] = [];
  scans = 0;
  readonly overloaded = false;
  /** Told before a page is read. */
  beforePage: (() => void) | undefined;

  /** Where the row is, or would be. */
  #at(row: RowKey): number {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareRows(this.rows[middle]!.row, row) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #holds(at: number, row: RowKey): boolean {
    return this.rows[at] !== undefined && compareRows(this.rows[at].row, row) === 0;
  }

  get(row: RowKey): Uint8Array | undefined {
    const at = this.#at(row);
    return this.#holds(at, row) ? this.rows[at]!.value : undefined;
  }

  put(row: RowKey, value: Uint8Array): void {
    const at = this.#at(row);
    this.rows.splice(at, this.#holds(at, row) ? 1 : 0, { row, value: value.slice() });
  }

  commit(): void {
    // An array does not fail.
  }

  addRecord(): void {
    // Nothing here is tried again.
  }

  findRecord(): undefined {
    return undefined;
  }

  async scan({ after, fromTokenHi = 0, toTokenHi = 0xffff_ffff, limitRows }: ScanOptions): Promise<ScanPage> {
    this.scans++;
    this.beforePage?.();
    const from = this.#at(after ?? { token: { hi: fromTokenHi, lo: 0 }, tenant: 0, key: "" });
    const rows: Stored[] = [];
    let at = after && this.#holds(from, after) ? from + 1 : from;
    const isWithin = (): boolean => at < this.rows.length && this.rows[at]!.row.token.hi <= toTokenHi;
    for (; rows.length < limitRows && isWithin(); at++) rows.push(this.rows[at]!);
    return { rows, done: !isWithin() };
  }
}

export class ComparedNode {
  readonly engine = new SortedRows();
  readonly replica: Replica;
  horizon = 0;
  isAway = false;
  /** It is of a build that knows no digests. */
  isOld = false;

  constructor(number: number) {
    this.replica = new Replica({
      engine: this.engine as unknown as StorageEngine,
      facts: {
        reservedCounter: () => 0,
        reserveCounter: () => undefined,
        isErased: () => false,
        isFilling: () => false,
        stampFloor: () => 0,
        ...this.#facts,
      },
      hints: { add: () => true },
      actor: number * 1024,
      now: () => 1_000_000,
      timeOriginMs: 0,
      counterBlock: 16,
    });
  }

  get #facts() {
    return {
      isRebuilding: () => false,
      isFilled: () => true,
      purgeHorizon: () => this.horizon,
      routeRevision: () => 0,
    };
  }

  page(request: Uint8Array): Promise<Uint8Array> {
    if (this.isOld && readPageRequest(request).kind === "digests")
      return Promise.reject(new Error("MalformedBytes: unknown page request 4"));
    const { engine, replica } = this;
    const held = { engine: engine as unknown as StorageEngine, digests: replica.digests, actor: replica.actor };
    return answerPage({ ...held, facts: this.#facts, recordRoute: () => undefined, routes: () => [] }, request);
  }
}

export class ComparedNodes {
  readonly nodes: ReadonlyMap<string, ComparedNode> = new Map(NODES.map((id, i) => [id, new ComparedNode(i + 1)]));
  /** Tenant → its replication factor, where that is not 3. */
  readonly factors = new Map<number, number>();
  readonly ring = new Ring(
    NODES.map(
      (id, i): StorageNode => ({ id, number: i + 1, incarnation: 1, zone: `z${i + 1}`, weight: 1, state: "active" }),
    ),
  );
  /** Of the last repair: pages asked for by kind, and the bytes of requests and answers. */
  requests: Record<string, number> = {};
  bytes = 0;
  #epoch = 0;

  /** All hold the same so many rows. */
  constructor(rowCount: number) {
    const rows = Array.from({ length: rowCount }, (_, i) => ({ row: rowOf(i), value: stateOf(i) }));
    rows.sort((a, b) => compareRows(a.row, b.row));
    for (const { engine } of this.nodes.values()) engine.rows = rows.slice();
  }

  node(id: string): ComparedNode {
    return this.nodes.get(id)!;
  }

  /** Some keys of which the nodes do not hold the same. */
  disagreeing(): string[] {
    const first = this.node("n1").engine;
    const others = ["n2", "n3"].map((id) => this.node(id).engine);
    const isAgreed = ({ row, value }: Stored): boolean =>
      others.every((engine) => sameBytes(engine.get(row) ?? new Uint8Array(0), value));
    const isAlone = ({ row }: Stored): boolean => first.get(row) === undefined;
    const differing = [
      ...first.rows.filter((held) => !isAgreed(held)),
      ...others.flatMap(({ rows }) => rows.filter(isAlone)),
    ];
    return differing.slice(0, 10).map(({ row }) => row.key);
  }

  /** n1 repairs all ranges, or what `of` says, to the end or for so many steps. */
  async repair(of: Partial<SyncState> = {}, steps = 100_000): Promise<SyncState> {
    this.requests = {};
    this.bytes = 0;
    const start = { epoch: ++this.#epoch, kind: "repair", range: { fromHi: 0, toHi: 0xffff_ffff }, ...of } as const;
    const job = new SyncJob(this.#environment(), newSync(start));
    for (let i = 0; i < steps && (await job.step()) !== "done"; i++);
    return job.state;
  }

  #environment(): SyncEnvironment {
    const nothing = (): void => undefined;
    const first = this.node("n1");
    return {
      self: "n1",
      recordWindows: 1,
      ringPages: 1,
      digestRows: { read: SYNC_DIGEST_ROWS, compared: DIGEST_ROWS_COMPARED },
      ring: async () => this.ring,
      routeOf: async (tenant) => ({ replicationFactor: this.factors.get(tenant) ?? 3 }),
      page: async (id, request) => {
        if (this.node(id).isAway) throw new Error(`${id} is away`);
        const { kind, limit } = readPageRequest(request);
        const answer = await this.node(id).page(request);
        if (limit > 0) this.requests[kind] = (this.requests[kind] ?? 0) + 1;
        this.bytes += request.length + answer.length;
        return answer;
      },
      call: async (id, frame) => this.node(id).replica.handle(frame.slice()),
      horizon: () => first.horizon,
      own: {
        scan: (options) => first.engine.scan(options),
        forget: nothing,
        changedTenants: () => [],
        routeRevision: () => 0,
        recordRoute: nothing,
      },
      beginFilling: nothing,
      endFilling: nothing,
      fillingTenants: () => [],
      takeRecords: nothing,
      takeRoutes: nothing,
      nextEpoch: () => ++this.#epoch,
      save: nothing,
    };
  }
}
