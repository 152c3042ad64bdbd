// What a keyspace tells its tenant of how much it holds, and is told of the tenant's quotas.
// Guarantees: the tenant hears of a change within REPORT_MS, of many in one report; while a quota is used up it is asked again by whoever is
// refused. Must not: delay an answer, refuse a deletion.
import type { QuotaExcess } from "../src/access/types.ts";
import type { StoredAmount } from "./rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** With the age of what the tenant knows of its storage nodes this is how late an excess is noticed. Ms. */
const REPORT_MS = 1000;
const DEADLINE_MS = 2000;

export interface KeyspaceUsageOptions {
  readonly read: () => StoredAmount;
  /** Undefined = nobody's keyspace, or not registered yet. */
  readonly report: () => ((amount: StoredAmount) => Promise<QuotaExcess | null>) | undefined;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

export class KeyspaceUsage {
  readonly #options: KeyspaceUsageOptions;
  #told: StoredAmount | undefined;
  #isPlanned = false;
  excess: QuotaExcess | undefined;

  constructor(options: KeyspaceUsageOptions) {
    this.#options = options;
  }

  /** After a turn of writes. */
  touch(): void {
    if (this.#isPlanned) return;
    const { storedBytes, keys } = this.#options.read();
    const isTold = this.#told?.storedBytes === storedBytes && this.#told.keys === keys;
    if ((isTold && !this.excess) || !this.#options.report()) return;
    this.#isPlanned = true;
    setTimeout(() => {
      this.#isPlanned = false;
      this.#options.waitUntil(this.#report());
    }, REPORT_MS);
  }

  async #report(): Promise<void> {
    const report = this.#options.report();
    if (!report) return;
    const amount = this.#options.read();
    try {
      this.excess = (await withDeadline(report(amount), DEADLINE_MS, "Tenant")) ?? undefined;
      this.#told = amount;
    } catch {
      // Told after the next write; what is known of the quota holds until then.
    }
  }
}
