// What tenants use on a storage node, in a table of its own: the sums of UsageMeter, written down now and then.
// Guarantees: a row that fails its checksum is not believed (spec ST-121): everything is counted anew from the store's rows, and until that
// is done the node gives no figure. Must not: hold up the node for it.
import { UsageMeter } from "../src/kv/usage.ts";
import { UsageRecount } from "../src/kv/usage-recount.ts";
import { compareRows } from "../src/replication/scan-frames.ts";
import type { StorageEngine } from "../src/storage/types.ts";
import { CheckedTable } from "./checked-rows.ts";

type Row = { tenant: number; stored_bytes: number; key_count: number };

const PAGE_ROWS = 1000;
const PAGE_BYTES = 1024 * 1024;
/** After a page that could not be read. Ms. */
const RETRY_MS = 1000;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class UsageTable {
  readonly #sql: SqlStorage;
  readonly #engine: Pick<StorageEngine, "scan">;
  readonly #rows: CheckedTable<Row>;
  readonly meter: UsageMeter;
  readonly #recount: UsageRecount | undefined;

  constructor(sql: SqlStorage, engine: Pick<StorageEngine, "scan">) {
    this.#sql = sql;
    this.#engine = engine;
    this.#rows = new CheckedTable(sql, "tenant_usage", "tenant");
    this.#rows.seal();
    const whole = this.#rows.selectWhole("");
    this.meter = new UsageMeter(
      whole.map(({ tenant, stored_bytes, key_count }) => ({ tenant, storedBytes: stored_bytes, keys: key_count })),
    );
    // The damage may be in a tenant's number: nobody's sum is known then.
    if (whole.length === sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM tenant_usage").one().n) return;
    this.#recount = new UsageRecount(compareRows);
    this.meter.startRecount(this.#recount);
  }

  get isDamaged(): boolean {
    return this.#recount !== undefined && !this.#recount.isDone;
  }

  /** Reads the whole store, a page at a time. Until then the damaged rows stay, for a start before the end. */
  async recount(): Promise<void> {
    const recount = this.#recount;
    while (recount && !recount.isDone) {
      const { after } = recount;
      const options = { limitRows: PAGE_ROWS, limitBytes: PAGE_BYTES, pastCorrupt: true };
      try {
        recount.add(await this.#engine.scan({ ...options, ...(after ? { after } : {}) }));
      } catch {
        // The store of blobs is away, or a block has just become unreadable: the same page is asked for again.
        await pause(RETRY_MS);
      }
      if (!recount.isDone) await pause(0);
    }
    this.meter.endRecount();
    this.#sql.exec("DELETE FROM tenant_usage");
    this.write();
  }

  write(): void {
    for (const { tenant, storedBytes, keys } of this.meter.takeChanged()) {
      this.#sql.exec("DELETE FROM tenant_usage WHERE tenant = ?", tenant);
      this.#rows.insert({ tenant, stored_bytes: storedBytes, key_count: keys });
    }
  }

  forget(tenant: number): void {
    this.meter.forget(tenant);
    this.#sql.exec("DELETE FROM tenant_usage WHERE tenant = ?", tenant);
  }
}
