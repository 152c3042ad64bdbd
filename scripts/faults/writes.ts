// Acknowledged writes of the drills, and whether they are there.
// Guarantees: read at `all`; a write counts from its answer on. Must not: forget one.
import { setTimeout as sleep } from "node:timers/promises";
import type { JadeClient, WriteResult } from "../../src/client/index.ts";

const WITHIN_MS = 300_000;
const POLL_MS = 100;
const AT_ONCE = 16;

export async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + WITHIN_MS;
  while (!(await check().catch(() => false))) {
    if (performance.now() > end) throw new Error(`${what}: not within ${WITHIN_MS / 1000} s`);
    await sleep(POLL_MS);
  }
}

/** So many at once. */
export async function forEach<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const left = items.toReversed();
  const next = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
}

/** Values of a key are numbers that grow, with so many characters behind them. */
export class Writes {
  readonly #acknowledged = new Map<string, number>();

  async put(client: JadeClient, key: string, value: number, filling = ""): Promise<WriteResult> {
    const written = await client.kv.put(key, filling === "" ? value : [value, filling]);
    this.#acknowledged.set(key, value);
    return written;
  }

  get count(): number {
    return this.#acknowledged.size;
  }

  /** Those that are missing or older than what was acknowledged. */
  async missing(client: JadeClient): Promise<string[]> {
    const missing: string[] = [];
    await forEach([...this.#acknowledged], async ([key, value]) => {
      const { value: read } = await client.kv.get(key, { consistency: "all" });
      const found = Array.isArray(read) ? read[0] : read;
      if (!(typeof found === "number" && found >= value)) missing.push(`${key} (${String(found)} for ${value})`);
    });
    return missing;
  }
}
