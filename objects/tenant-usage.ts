// How much a tenant stores of key-value data, asked of the storage nodes while someone uses the tenant.
// Guarantees: at most one round of questions in USAGE_REFRESH_MS; figures are of one copy, so that they do not depend on the replication
// factor; nodes that do not answer are taken to hold as much as the others. Must not: hold up a view for more than USAGE_WAIT_MS, but
// for the first round.
import type { QuotaExcess, TenantQuotas } from "../src/access/types.ts";
import type { Env } from "./env.ts";
import type { StoredAmount } from "./rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** With the age of a gateway's view this is how late an excess is noticed (spec AC-81). Ms. */
const USAGE_REFRESH_MS = 500;
/** A view waits so long for new figures: those of before a pause would be shown for as long as the view lives. Ms. */
const USAGE_WAIT_MS = 100;
const NODE_DEADLINE_MS = 1000;

const NOTHING: StoredAmount = { storedBytes: 0, keys: 0 };

export class TenantUsage {
  readonly #env: Env;
  #amount: StoredAmount | undefined;
  #askedAtMs = 0;
  #running: Promise<void> | undefined;

  constructor(env: Env) {
    this.#env = env;
  }

  get amount(): StoredAmount {
    return this.#amount ?? NOTHING;
  }

  /** The first quota that is used up, as far as is known. `config`: what its configuration keyspaces hold. */
  excessOf(quotas: TenantQuotas, config: StoredAmount): QuotaExcess | undefined {
    for (const quota of ["storedBytes", "keys"] as const) {
      const limit = quotas[quota];
      const used = this.amount[quota] + config[quota];
      if (limit !== null && used >= limit) return { quota, used, limit };
    }
    return undefined;
  }

  /** Asks again when the figures are old. Where there are some, a slow storage node does not hold up the caller. */
  async keepFresh(of: { readonly tenant: number; readonly replicationFactor: number }, nowMs: number): Promise<void> {
    if (nowMs - this.#askedAtMs >= USAGE_REFRESH_MS) void this.refresh(of, nowMs).catch(() => undefined);
    if (!this.#running) return;
    const isFirst = this.#amount === undefined;
    await (isFirst ? this.#running : withDeadline(this.#running, USAGE_WAIT_MS, "storage nodes")).catch(
      () => undefined,
    );
  }

  /** Throws when no storage node answers. */
  refresh(of: { readonly tenant: number; readonly replicationFactor: number }, nowMs: number): Promise<void> {
    this.#askedAtMs = nowMs;
    this.#running ??= this.#observe(of).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #observe({ tenant, replicationFactor }: { tenant: number; replicationFactor: number }): Promise<void> {
    const { DIRECTORY, KEY_VALUE_REPLICA } = this.#env;
    const view = await withDeadline(
      DIRECTORY.get(DIRECTORY.idFromName("system")).view(),
      NODE_DEADLINE_MS,
      "Directory",
    );
    const asked = view.nodes
      // What a node that joins or leaves holds, others hold too.
      .filter(({ state }) => state !== "removed" && state !== "leaving" && state !== "bootstrapping")
      .map(({ id }) =>
        withDeadline(KEY_VALUE_REPLICA.get(KEY_VALUE_REPLICA.idFromName(id)).tenantUsage(tenant), NODE_DEADLINE_MS, id),
      );
    const answers = (await Promise.allSettled(asked)).flatMap((result) =>
      result.status === "fulfilled" ? [result.value] : [],
    );
    if (answers.length === 0) throw new Error("no storage node answered");
    const copies = (answers.length / asked.length) * replicationFactor;
    const sum = (field: keyof StoredAmount): number =>
      Math.max(0, Math.round(answers.reduce((total, answer) => total + answer[field], 0) / copies));
    this.#amount = { storedBytes: sum("storedBytes"), keys: sum("keys") };
  }
}
