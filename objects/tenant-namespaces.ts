// The namespaces of a tenant's configuration store: which keyspaces there are, and the end of those that are deleted.
// Guarantees: a keyspace is in the table before its first write is acknowledged, and leaves it only when it is empty; incarnations
// are never given twice, so that a late erasure cannot meet a later keyspace of the same name. Must not: read keys.
import { MAX_NAMESPACES_PER_TENANT } from "../src/access/limits.ts";
import { clusterPlace } from "../src/cluster/placement.ts";
import { CheckedTable } from "./checked-rows.ts";
import type { Env } from "./env.ts";
import { copyName, forgetNamespace } from "./known-namespaces.ts";
import type { NamespaceOf, NamespaceRefusal, RegisteredNamespace, StoredAmount } from "./rpc.ts";
import { failure, type NamespaceRow, type RpcResult } from "./tenancy-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

type Row = {
  crc: number | null;
  stored_bytes: number;
  stored_keys: number;
  incarnation: number;
  namespace: string;
  state: string;
  created_at_ms: number;
};

/** Keyspaces that one round erases, and how many of them at once. */
const ROUND_KEYSPACES = 100;
const ERASED_AT_ONCE = 10;
const ERASE_TIMEOUT_MS = 5000;
/** An erasure that did not come through is tried again after this. Ms. */
export const NAMESPACE_RETRY_MS = 1000;

export class TenantNamespaces {
  readonly #sql: SqlStorage;
  readonly #rows: CheckedTable<Row>;
  readonly #env: Env;

  constructor(sql: SqlStorage, env: Env) {
    this.#sql = sql;
    this.#rows = new CheckedTable(sql, "namespaces", "incarnation");
    this.#env = env;
  }

  #find(namespace: string): Row | undefined {
    return this.#rows.select("WHERE namespace = ?", namespace)[0];
  }

  register(namespace: string, nowMs: number): RegisteredNamespace | NamespaceRefusal {
    const held = this.#find(namespace);
    if (held?.state === "active") return { ok: true, incarnation: held.incarnation };
    // Its erasure may still be repeated: what is written now could be lost.
    if (held) return failure("unavailable", "the namespace is being deleted; try again in a moment");
    const used = this.#sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM namespaces").one().count;
    if (used >= MAX_NAMESPACES_PER_TENANT) {
      const details = { quota: "namespaces", used, limit: MAX_NAMESPACES_PER_TENANT };
      return failure("quotaExceeded", `the tenant has ${used} namespaces, which is the limit`, details);
    }
    this.#rows.insert({ namespace, state: "active", created_at_ms: nowMs });
    return { ok: true, incarnation: this.#find(namespace)!.incarnation };
  }

  /** What a keyspace holds. Of an earlier one of the name, or one that is being deleted, nothing counts. */
  note({ namespace, incarnation }: NamespaceOf, { storedBytes, keys }: StoredAmount): void {
    this.#rows.update({
      set: "stored_bytes = ?, stored_keys = ?",
      to: [storedBytes, keys],
      where: "namespace = ? AND incarnation = ? AND (stored_bytes <> ? OR stored_keys <> ?)",
      of: [namespace, incarnation, storedBytes, keys],
    });
  }

  get stored(): StoredAmount {
    const query = "SELECT TOTAL(stored_bytes) AS storedBytes, TOTAL(stored_keys) AS keys FROM namespaces";
    const { storedBytes, keys } = this.#sql.exec<{ storedBytes: number; keys: number }>(query).one();
    return { storedBytes, keys };
  }

  /** Written to, and not erased since. */
  has(namespace: string): boolean {
    return this.#find(namespace) !== undefined;
  }

  list(after: string, limit: number): NamespaceRow[] {
    // All are read: a damaged row must not be passed over for what it says.
    return this.#rows
      .select("ORDER BY namespace")
      .filter(({ namespace, state }) => state === "active" && namespace > after)
      .slice(0, limit)
      .map((row) => ({ namespace: row.namespace, createdAtMs: row.created_at_ms }));
  }

  markDeleting(namespace: string): RpcResult<{ namespace: string }> {
    const held = this.#find(namespace);
    if (!held) return failure("notFound", `there is no namespace "${namespace}"`);
    this.#rows.update({ set: "state = 'deleting'", where: "namespace = ?", of: [namespace] });
    return { ok: true, value: { namespace } };
  }

  get isErasing(): boolean {
    return this.#sql.exec("SELECT 1 FROM namespaces WHERE state = 'deleting' LIMIT 1").toArray().length > 0;
  }

  isErased(namespace: string): boolean {
    return this.#find(namespace)?.state !== "deleting";
  }

  markAllDeleting(): void {
    this.#rows.updateUnchecked({ set: "state = 'deleting'", where: "1" });
  }

  /** One round over what is marked; true when nothing is left. */
  async erase(tenant: number): Promise<boolean> {
    const query = "SELECT * FROM namespaces WHERE state = 'deleting' ORDER BY incarnation LIMIT ?";
    const rows = this.#sql.exec<Row>(query, ROUND_KEYSPACES).toArray();
    const zones = rows.length > 0 ? await this.#zones() : [];
    if (!zones) return false;
    for (let start = 0; start < rows.length; start += ERASED_AT_ONCE) {
      const group = rows.slice(start, start + ERASED_AT_ONCE);
      await Promise.all(group.map((row) => this.#eraseOne(`c${tenant}/${row.namespace}`, row.incarnation, zones)));
    }
    return !this.isErasing;
  }

  /** Where followers may be; undefined = the Directory does not say. */
  async #zones(): Promise<readonly string[] | undefined> {
    const directory = this.#env.DIRECTORY.get(this.#env.DIRECTORY.idFromName("system"));
    try {
      const { nodes } = await withDeadline(directory.view(), ERASE_TIMEOUT_MS, "Directory");
      // One that the table does not have any more is gone with its disk.
      const known = clusterPlace(this.#env.JADE_CLUSTER)?.zones;
      return [...new Set(nodes.map(({ zone }) => zone))].filter((zone) => known?.includes(zone) ?? true);
    } catch {
      return undefined; // tried again by the alarm
    }
  }

  /** The owner first: a follower that still follows it then copies nothing, but has it make its tables. So the owner last, too. */
  async #eraseOne(keyspace: string, incarnation: number, zones: readonly string[]): Promise<void> {
    const { CONFIG_KEYSPACE, CONFIG_FOLLOWER } = this.#env;
    const id = CONFIG_KEYSPACE.idFromName(keyspace);
    const erase = () => withDeadline(CONFIG_KEYSPACE.get(id).erase(incarnation), ERASE_TIMEOUT_MS, "ConfigKeyspace");
    try {
      // Fails where there was something: the object restarts.
      await erase().catch(() => undefined);
      for (const zone of zones) {
        const follower = CONFIG_FOLLOWER.get(CONFIG_FOLLOWER.idFromName(copyName(zone, keyspace)));
        await withDeadline(follower.erase(), ERASE_TIMEOUT_MS, "ConfigFollower").catch(throwUnlessErased);
      }
      await erase();
      this.#sql.exec("DELETE FROM namespaces WHERE incarnation = ? AND state = 'deleting'", incarnation);
      forgetNamespace(keyspace);
    } catch {
      // Tried again by the alarm, or the tenant is erased meanwhile.
    }
  }
}

/** A follower that erased itself restarts, which its caller sees as an error. */
function throwUnlessErased(error: unknown): void {
  if (!String(error).includes("erased")) throw error;
}
