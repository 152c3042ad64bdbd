// How a keyspace becomes its tenant's: before its first write is acknowledged its namespace is in the Tenant's table.
// Guarantees: asked once, then a durable fact; a keyspace whose tenant is gone, or has too many, takes no write. Keyspaces of the
// deployment itself (names other than c<tenant>/<namespace>) are nobody's.
import type { QuotaExcess } from "../src/access/types.ts";
import type { ConfigStore } from "../src/config/store.ts";
import type { ConfigFailure } from "../src/wire/config.ts";
import type { Env } from "./env.ts";
import type { StoredAmount } from "./rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** The tenant's number and the namespace in an object's name. */
const TENANT_KEYSPACE = /^c([0-9]+)\/(.+)$/;
const REGISTER_TIMEOUT_MS = 5000;
/** The fact's name. */
const FACT = "incarnation";

export class KeyspaceRegistration {
  readonly #env: Env;
  readonly #store: ConfigStore;
  readonly #owner: { readonly tenant: string; readonly namespace: string } | undefined;
  #incarnation: number;
  #asking: Promise<ConfigFailure | undefined> | undefined;

  constructor({ env, name, store }: { env: Env; name: string | undefined; store: ConfigStore }) {
    const [, tenant, namespace] = TENANT_KEYSPACE.exec(name ?? "") ?? [];
    this.#env = env;
    this.#store = store;
    this.#owner = tenant && namespace ? { tenant, namespace } : undefined;
    this.#incarnation = store.fact(FACT);
  }

  /** 0 = not registered. */
  get incarnation(): number {
    return this.#incarnation;
  }

  /** To the tenant whose keyspace it is. */
  get reporter(): ((amount: StoredAmount) => Promise<QuotaExcess | null>) | undefined {
    const incarnation = this.#incarnation;
    if (!this.#owner || incarnation === 0) return undefined;
    const { tenant, namespace } = this.#owner;
    const stub = this.#env.TENANT.get(this.#env.TENANT.idFromName(`t${tenant}`));
    return (amount) => stub.noteKeyspace({ namespace, incarnation }, amount);
  }

  get isNeeded(): boolean {
    return this.#owner !== undefined && this.#incarnation === 0;
  }

  /** Undefined = the keyspace may be written to. */
  ensure(): Promise<ConfigFailure | undefined> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<ConfigFailure | undefined> {
    const { tenant, namespace } = this.#owner!;
    const stub = this.#env.TENANT.get(this.#env.TENANT.idFromName(`t${tenant}`));
    try {
      const answer = await withDeadline(stub.registerNamespace(namespace), REGISTER_TIMEOUT_MS, "Tenant");
      if (!answer.ok) return { kind: "error", code: answer.code, message: answer.message, details: answer.details };
      this.#store.setFact(FACT, answer.incarnation);
      this.#incarnation = answer.incarnation;
      return undefined;
    } catch {
      return { kind: "error", code: "unavailable", message: "the tenant's owner did not answer; nothing was written" };
    }
  }
}
