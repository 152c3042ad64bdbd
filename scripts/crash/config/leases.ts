// Leases over kills of the server: some are kept alive and must not end, some are left alone and must end in time.
import { setTimeout as sleep } from "node:timers/promises";
import type { Config, KeptLease } from "../../../src/client/index.ts";
import type { ConfigCrashResult } from "./result.ts";
import type { Watcher } from "./watcher.ts";

const KEPT = 10;
/** Longer than a restart takes. */
const KEPT_TTL_SECONDS = 20;
const LEFT_TTL_SECONDS = 3;
const PAUSE_MS = 400;
/** What a takeover may add. */
const EXTENSION_MS = 25_000;

interface Left {
  readonly key: string;
  /** The time to live begins between these. */
  readonly calledMs: number;
  readonly answeredMs: number;
}

export class LeaseLoad {
  readonly #config: Config;
  readonly #result: ConfigCrashResult;
  readonly #left: Left[] = [];
  readonly #kept: KeptLease[] = [];

  constructor(config: Config, result: ConfigCrashResult) {
    this.#config = config;
    this.#result = result;
  }

  async run(isOver: () => boolean): Promise<void> {
    for (let i = 0; i < KEPT; i++) {
      const lease = await this.#config.leases.keep(KEPT_TTL_SECONDS);
      this.#kept.push(lease);
      await this.#config.put(`kept/${i}`, i, { leaseId: lease.leaseId });
    }
    for (let n = 0; !isOver(); n++) {
      await this.#leave(`left/${n}`).catch((error: unknown) => {
        // It may have ended while the server was away, before it had its key.
        if (!String(error).includes("there is no lease")) throw error;
      });
      await sleep(PAUSE_MS);
    }
    for (const lease of this.#kept)
      if (lease.isLost) this.#problem(`a lease that was kept alive is lost: ${lease.signal.reason}`);
    for (let i = 0; i < KEPT; i++)
      if (!(await this.#config.get(`kept/${i}`)).found)
        this.#problem(`kept/${i} is gone although its lease was kept alive`);
    for (const lease of this.#kept) lease.abandon();
  }

  async #leave(key: string): Promise<void> {
    const { leaseId } = await this.#config.leases.grant(LEFT_TTL_SECONDS);
    await this.#config.put(key, "left", { leaseId });
    const calledMs = performance.now();
    await this.#config.leases.keepAlive(leaseId);
    this.#left.push({ key, calledMs, answeredMs: performance.now() });
  }

  /** Waits until the last of them must have ended. */
  async ended(watcher: Watcher): Promise<void> {
    const endMs = performance.now() + LEFT_TTL_SECONDS * 1000 + EXTENSION_MS;
    const isGone = ({ key }: Left): boolean =>
      watcher.events.some((event) => event.type === "delete" && event.key === key);
    while (!this.#left.every(isGone) && performance.now() < endMs) await sleep(50);
  }

  judge(watcher: Watcher): void {
    const gone = new Map(watcher.events.filter(({ type }) => type === "delete").map(({ key, atMs }) => [key, atMs]));
    for (const { key, calledMs, answeredMs } of this.#left) {
      const atMs = gone.get(key);
      if (atMs === undefined) {
        this.#problem(`the lease of ${key} did not end`);
        continue;
      }
      const result = this.#result;
      result.leasesEnded++;
      const afterMs = Math.round(atMs - calledMs - LEFT_TTL_SECONDS * 1000);
      const lateMs = Math.round(atMs - answeredMs - LEFT_TTL_SECONDS * 1000);
      result.earliestLeaseMs = Math.min(result.earliestLeaseMs, afterMs);
      result.latestLeaseMs = Math.max(result.latestLeaseMs, lateMs);
      if (afterMs < 0) this.#problem(`the lease of ${key} ended ${-afterMs} ms early`);
      if (lateMs > EXTENSION_MS) this.#problem(`the lease of ${key} ended ${lateMs} ms late`);
    }
  }

  #problem(text: string): void {
    this.#result.problems.push(`lease: ${text}`);
  }
}
