// Restores what a node cannot read any more: the rows of an unreadable block, from the other replicas of each; records by RecordHealer.
// Guarantees: a row is restored by a read at `all` through the coordinator, so by the rule of ReadCall and never from too few others;
// a block is given up only when every other node listed its rows, none of them is unreadable here any more, and no tenant may keep a
// single copy in it: until then its rows are errors, never absent. Must not: judge what is newer; merging does.
import type { DirectoryView, StorageNode, TenantRoute } from "../access/types.ts";
import { Ring } from "../cluster/ring.ts";
import type { AtFailPoint } from "../storage/state.ts";
import {
  CorruptBlock,
  type CorruptRange,
  type RepairableEngine,
  type RowKey,
  type ScanPage,
  type Token,
} from "../storage/types.ts";
import type { RecordHealer } from "./record-healer.ts";
import { whenResident } from "./residency.ts";

/** Where in the ring to look; `after` is exclusive. */
export interface KeyScan {
  readonly fromTokenHi: number;
  readonly toTokenHi: number;
  readonly after?: RowKey;
}

/** The rest of the deployment, as the healer sees it. Everything may reject: then the healing is tried again later. */
export interface HealingNetwork {
  view(): Promise<DirectoryView>;
  /** A page of the keys a storage node holds in a range, of all tenants; values are not looked at. */
  scanKeys(nodeId: string, scan: KeyScan): Promise<ScanPage>;
  /** Reads rows of one tenant at `all`; the coordinator heals unreadable copies. */
  read(tenant: number, rows: readonly RowKey[]): Promise<void>;
  /** Undefined = there is no such tenant (any more). */
  route(tenant: number): Promise<TenantRoute | undefined>;
  /** Every tenant there is. */
  tenants(): Promise<readonly number[]>;
}

export interface HealerOptions {
  readonly nodeId: string;
  readonly engine: RepairableEngine;
  readonly network: HealingNetwork;
  readonly atFailPoint?: AtFailPoint | undefined;
  /** Restores records; undefined = they are left to their retention. */
  readonly records?: Pick<RecordHealer, "heal"> | undefined;
}

/** Rows of one page. With the values a coordinator answers for them a page stays below what an RPC message may hold. */
const PAGE_ROWS = 500;
const PAGE_BYTES = 4 * 1024 * 1024;
const WHOLE_RING: KeyScan = { fromTokenHi: 0, toTokenHi: 0xffff_ffff };

export class Healer {
  readonly #options: HealerOptions;
  /** Of this round. */
  readonly #routes = new Map<number, TenantRoute | undefined>();

  constructor(options: HealerOptions) {
    this.#options = options;
  }

  /** One try at everything unreadable; true when nothing is left. Rows come first: records are compared with them. */
  async run(): Promise<boolean> {
    const { engine } = this.#options;
    this.#routes.clear();
    for (const range of engine.corruptRanges()) if (range.kind === "row") await this.#heal(range);
    for (const range of engine.corruptRanges()) if (range.kind === "record") await this.#healRecords(range);
    // More may have been found meanwhile.
    return engine.corruptRanges().length === 0;
  }

  async #surroundings(): Promise<{ ring: Ring; others: readonly StorageNode[] }> {
    const { network, nodeId } = this.#options;
    const { nodes, ring: state } = await network.view();
    const ring = new Ring(nodes, {}, state);
    return { ring, others: ring.nodes.filter(({ id, state }) => id !== nodeId && state !== "bootstrapping") };
  }

  async #healRecords(range: CorruptRange): Promise<void> {
    const { engine, records, atFailPoint } = this.#options;
    if (!records) return;
    const { ring, others } = await this.#surroundings();
    const ids = others.map(({ id }) => id);
    const isWhole = await records.heal(range, ring, ids);
    await atFailPoint?.("heal.restored");
    // Hashes of write ids say nothing of where in the ring their rows stand.
    if (isWhole && (await this.#hasOtherCopies(range, WHOLE_RING, ring))) engine.discardCorrupt(range);
  }

  async #heal(range: CorruptRange): Promise<void> {
    const { engine, network, atFailPoint } = this.#options;
    const { ring, others } = await this.#surroundings();
    const whole: KeyScan = {
      fromTokenHi: range.from?.token.hi ?? 0,
      toTokenHi: range.to?.token.hi ?? range.lastToken.hi,
    };
    const scans = others.map(
      ({ id }) =>
        (scan: KeyScan) =>
          network.scanKeys(id, scan),
    );
    // Rows that only older tables here still hold: nobody else has them, or they would have been listed before.
    scans.push((scan) => engine.scan({ ...scan, limitRows: PAGE_ROWS, limitBytes: PAGE_BYTES, pastCorrupt: true }));
    let isWhole = true;
    for (const scan of scans) if (!(await this.#restore(scan, whole, ring))) isWhole = false;
    await atFailPoint?.("heal.restored");
    if (isWhole && (await this.#hasOtherCopies(range, whole, ring))) engine.discardCorrupt(range);
  }

  /** Restores the listed rows page by page; true when none of them is unreadable afterwards. */
  async #restore(scan: (page: KeyScan) => Promise<ScanPage>, whole: KeyScan, ring: Ring): Promise<boolean> {
    let isWhole = true;
    let after: RowKey | undefined;
    for (;;) {
      const page = await scan({ ...whole, ...(after ? { after } : {}) });
      await this.#options.atFailPoint?.("heal.listed");
      if (
        !(await this.#restoreRows(
          page.rows.map(({ row }) => row),
          ring,
        ))
      )
        isWhole = false;
      after = page.rows.at(-1)?.row;
      if (page.done || !after) return isWhole;
    }
  }

  async #restoreRows(listed: readonly RowKey[], ring: Ring): Promise<boolean> {
    const byTenant = new Map<number, RowKey[]>();
    for (const row of await this.#unreadable(listed)) {
      const route = await this.#route(row.tenant);
      // Not of this node, or of nobody any more.
      if (route === undefined || !this.#isHere(ring, row.token, route)) continue;
      byTenant.set(row.tenant, [...(byTenant.get(row.tenant) ?? []), row]);
    }
    let isWhole = true;
    for (const [tenant, rows] of byTenant) {
      await this.#options.network.read(tenant, rows);
      if ((await this.#unreadable(rows)).length > 0) isWhole = false;
    }
    return isWhole;
  }

  #isHere(ring: Ring, token: Token, route: TenantRoute): boolean {
    const { write, read, pending, joint = [] } = ring.route(token, route);
    return [...write, ...read, ...pending, ...joint].includes(this.#options.nodeId);
  }

  #unreadable(rows: readonly RowKey[]): Promise<RowKey[]> {
    const { engine } = this.#options;
    const isUnreadable = (row: RowKey): boolean => {
      try {
        engine.get(row);
        return false;
      } catch (error) {
        if (error instanceof CorruptBlock) return true;
        throw error;
      }
    };
    const gets = rows.map((row) => ({ kind: "get" as const, row }));
    return whenResident(engine, gets, () => rows.filter(isUnreadable));
  }

  /** A table names its tenants, a block does not: whose only copies may stand in it is told by the ring. */
  async #hasOtherCopies({ tenants }: CorruptRange, whole: KeyScan, ring: Ring): Promise<boolean> {
    const within = ring.ranges().filter(({ fromHi, toHi }) => fromHi <= whole.toTokenHi && toHi >= whole.fromTokenHi);
    for (const tenant of tenants ?? (await this.#options.network.tenants())) {
      const route = await this.#route(tenant);
      if (route === undefined || route.replicationFactor >= 2) continue;
      if (within.some(({ toHi }) => this.#isHere(ring, { hi: toHi, lo: 0 }, route))) return false;
    }
    return true;
  }

  async #route(tenant: number): Promise<TenantRoute | undefined> {
    if (!this.#routes.has(tenant)) this.#routes.set(tenant, await this.#options.network.route(tenant));
    return this.#routes.get(tenant);
  }
}
