// A tenant's webhooks: which there are, their beginning and their end.
// Guarantees: a subscription is in the table before its sender has it, and leaves it only when its sender is empty; one that was created
// is started however often it takes. Must not: know how far a sender is.
import { MAX_WEBHOOKS_PER_TENANT } from "../src/config/limits.ts";
import { CheckedTable } from "./checked-rows.ts";
import type { Env } from "./env.ts";
import { failure, type RpcFailure, type RpcResult } from "./tenancy-rpc.ts";
import type { NewWebhook, WebhookRow, WebhookSenderRpc, WebhookStart } from "./webhook-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

type Row = { id: string; namespace: string; state: string; created_at_ms: number; start: string; crc: number | null };

const CALL_TIMEOUT_MS = 5000;
const AT_ONCE = 10;
/** What did not come through is tried again after this. Ms. */
export const WEBHOOK_RETRY_MS = 1000;

export class TenantWebhooks {
  readonly #sql: SqlStorage;
  readonly #rows: CheckedTable<Row>;
  readonly #env: Env;

  /** Its table is the TenantStore's to make: a tenant that does not exist leaves nothing on disk. */
  constructor(sql: SqlStorage, env: Env) {
    this.#sql = sql;
    this.#rows = new CheckedTable(sql, "webhooks", "id");
    this.#env = env;
  }

  get #count(): number {
    return this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM webhooks").one().n;
  }

  /** Undefined = there is room for one more. */
  excess(): RpcFailure | undefined {
    const used = this.#count;
    if (used < MAX_WEBHOOKS_PER_TENANT) return undefined;
    const details = { quota: "webhooks", used, limit: MAX_WEBHOOKS_PER_TENANT };
    return failure("quotaExceeded", `the tenant has ${used} webhooks, which is the limit`, details);
  }

  add(id: string, { subscription, startRevision }: NewWebhook, secret: string, createdAtMs: number): void {
    const start: WebhookStart = { subscription: { ...subscription, id }, startRevision, secret, createdAtMs };
    const { namespace } = subscription;
    this.#rows.insert({ id, namespace, state: "active", created_at_ms: createdAtMs, start: JSON.stringify(start) });
  }

  has(id: string): boolean {
    return this.#sql.exec("SELECT 1 FROM webhooks WHERE id = ? AND state = 'active'", id).toArray().length > 0;
  }

  isStarted(id: string): boolean {
    return this.#sql.exec("SELECT 1 FROM webhooks WHERE id = ? AND start = ''", id).toArray().length > 0;
  }

  list(after: string, limit: number): readonly WebhookRow[] {
    return this.#rows
      .select("ORDER BY id")
      .filter((row) => row.state === "active" && row.id > after)
      .slice(0, limit)
      .map(({ id, namespace, created_at_ms }) => ({ id, namespace, createdAtMs: created_at_ms }));
  }

  markDeleting(id: string): RpcResult<{ id: string }> {
    if (!this.has(id)) return failure("notFound", `there is no webhook "${id}"`);
    this.#rows.updateUnchecked({ set: "state = 'deleting'", where: "id = ?", of: [id] });
    return { ok: true, value: { id } };
  }

  markNamespaceDeleting(namespace: string): void {
    this.#rows.updateUnchecked({ set: "state = 'deleting'", where: "namespace = ?", of: [namespace] });
  }

  markAllDeleting(): void {
    this.#rows.updateUnchecked({ set: "state = 'deleting'", where: "1" });
  }

  /** There is something to start or to erase. */
  get isBusy(): boolean {
    return (
      this.#sql.exec("SELECT 1 FROM webhooks WHERE state = 'deleting' OR start <> '' LIMIT 1").toArray().length > 0
    );
  }

  async startAll(tenant: number): Promise<void> {
    // One that is damaged holds up no other.
    for (const { id, start } of this.#rows.selectWhole("WHERE state = 'active' AND start <> ''")) {
      try {
        const started = this.#sender(tenant, id).start(JSON.parse(start) as WebhookStart);
        await withDeadline(started, CALL_TIMEOUT_MS, "WebhookSender");
        this.#rows.update({ set: "start = ''", where: "id = ?", of: [id] });
      } catch {
        // Tried again by the alarm.
      }
    }
  }

  /** One round over what is marked; true when nothing is left. */
  async erase(tenant: number): Promise<boolean> {
    const rows = this.#sql.exec<Row>("SELECT * FROM webhooks WHERE state = 'deleting'").toArray();
    for (let from = 0; from < rows.length; from += AT_ONCE)
      await Promise.all(rows.slice(from, from + AT_ONCE).map(({ id }) => this.#eraseOne(tenant, id)));
    return this.#sql.exec("SELECT 1 FROM webhooks WHERE state = 'deleting' LIMIT 1").toArray().length === 0;
  }

  async #eraseOne(tenant: number, id: string): Promise<void> {
    const ask = () => withDeadline(this.#sender(tenant, id).erase(), CALL_TIMEOUT_MS, "WebhookSender");
    try {
      // The first one fails where there was something: the object restarts. The second one finds it empty.
      await ask().catch(ask);
      this.#sql.exec("DELETE FROM webhooks WHERE id = ? AND state = 'deleting'", id);
    } catch {
      // Tried again by the alarm, or by the tenant's own erasure.
    }
  }

  #sender(tenant: number, id: string): WebhookSenderRpc {
    const objects = this.#env.WEBHOOK_SENDER;
    return objects.get(objects.idFromName(`w${tenant}/${id}`));
  }
}
