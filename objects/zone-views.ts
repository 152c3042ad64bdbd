// A zone's copy of what it needs of the control plane: views of tenants and of the Directory, as they were last seen here. A process that starts
// while their owners are away admits known keys and finds the storage nodes by it.
// And the deployment that the zone's disk belongs to, which it tells a Directory without history (src/cluster/birth.ts).
// Guarantees: a copy is given with the time it was true; it goes when it is too old to be used, or its tenant is gone; one that fails its
// checksum is as good as none. Must not: be asked while the owners answer, or tell what was never seen here.
import { DurableObject } from "cloudflare:workers";
import { ZONE_VIEWS_MIGRATIONS } from "../migrations/tenancy.ts";
import { MAX_KEPT_VIEWS } from "../src/access/limits.ts";
import type { DirectoryView, TenantView } from "../src/access/types.ts";
import { parseSettings } from "../src/cluster/settings.ts";
import { CheckedTable } from "./checked-rows.ts";
import type { Env } from "./env.ts";
import { applyMigrations } from "./migrate.ts";
import type { KeptView, ZoneViewsRpc } from "./rpc.ts";

interface ViewRow {
  readonly name: string;
  readonly as_of_ms: number;
  readonly view: string;
  readonly crc: number | null;
}

interface DeploymentRow {
  readonly one: number;
  readonly id: string;
  readonly crc: number | null;
}

const DIRECTORY = "directory";
const tenantName = (tenantId: string): string => `tenant/${tenantId}`;

export class ZoneViews extends DurableObject<Env> implements ZoneViewsRpc {
  readonly #rows: CheckedTable<ViewRow>;
  readonly #deployment: CheckedTable<DeploymentRow>;
  readonly #keepMs: number;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#keepMs = parseSettings(env.JADE_CONFIG).auth.staleTenantViewMinutes * 60_000;
    applyMigrations(ctx.storage, "zone-views", ZONE_VIEWS_MIGRATIONS);
    this.#rows = new CheckedTable(ctx.storage.sql, "kept_views", "name");
    this.#deployment = new CheckedTable(ctx.storage.sql, "deployment", "one");
  }

  async keepTenant(view: TenantView, asOfMs: number): Promise<void> {
    await this.#keep(tenantName(view.tenantId), view, asOfMs);
  }

  async tenant(tenantId: string): Promise<KeptView<TenantView> | null> {
    return this.#find<TenantView>(tenantName(tenantId));
  }

  async forgetTenant(tenantId: string): Promise<void> {
    this.ctx.storage.sql.exec("DELETE FROM kept_views WHERE name = ?", tenantName(tenantId));
  }

  async keepDirectory(view: DirectoryView, asOfMs: number): Promise<void> {
    // The disk of a zone that came later, or anew, learns whose it is.
    if (view.deployment !== undefined) await this.claimDeployment(view.deployment);
    await this.#keep(DIRECTORY, view, asOfMs);
  }

  async directory(): Promise<KeptView<DirectoryView> | null> {
    return this.#find<DirectoryView>(DIRECTORY);
  }

  async claimDeployment(id: string): Promise<string> {
    return this.ctx.storage.transactionSync(() => {
      const [held] = this.#deployment.select("WHERE one = 1");
      if (held) return held.id;
      this.#deployment.insert({ one: 1, id });
      return id;
    });
  }

  /** Forgets what is too old to be used. */
  override async alarm(): Promise<void> {
    this.ctx.storage.sql.exec("DELETE FROM kept_views WHERE as_of_ms <= ?", Date.now() - this.#keepMs);
    await this.#schedule();
  }

  async #keep(name: string, view: object, asOfMs: number): Promise<void> {
    const { sql } = this.ctx.storage;
    this.ctx.storage.transactionSync(() => {
      const [held] = this.#rows.selectWhole("WHERE name = ?", name);
      if (held && held.as_of_ms > asOfMs) return;
      sql.exec("DELETE FROM kept_views WHERE name = ?", name);
      this.#rows.insert({ name, as_of_ms: asOfMs, view: JSON.stringify(view) });
      const oldest = "SELECT name FROM kept_views ORDER BY as_of_ms DESC LIMIT -1 OFFSET ?";
      sql.exec(`DELETE FROM kept_views WHERE name IN (${oldest})`, MAX_KEPT_VIEWS);
    });
    await this.#schedule();
  }

  #find<View>(name: string): KeptView<View> | null {
    const [row] = this.#rows.selectWhole("WHERE name = ?", name);
    if (!row || Date.now() - row.as_of_ms >= this.#keepMs) return null;
    return { view: JSON.parse(row.view) as View, asOfMs: row.as_of_ms };
  }

  async #schedule(): Promise<void> {
    if ((await this.ctx.storage.getAlarm()) !== null) return;
    const [row] = this.ctx.storage.sql
      .exec<{ at: number | null }>("SELECT min(as_of_ms) AS at FROM kept_views")
      .toArray();
    if (row?.at != null) await this.ctx.storage.setAlarm(row.at + this.#keepMs);
  }
}
