// Contenders for one lock over kills of the server: one holder at a time, with growing fencing tokens.
import { setTimeout as sleep } from "node:timers/promises";
import { type Config, isJadeError } from "../../../src/client/index.ts";
import type { ConfigCrashResult } from "./result.ts";

const CONTENDERS = 4;
const HELD_MS = 20;
/** Longer than a restart takes: no holder loses it. */
const TTL_SECONDS = 20;

interface Held {
  readonly token: number;
  readonly fromMs: number;
  readonly toMs: number;
}

export class LockLoad {
  readonly #config: Config;
  readonly #result: ConfigCrashResult;
  readonly #held: Held[] = [];

  constructor(config: Config, result: ConfigCrashResult) {
    this.#config = config;
    this.#result = result;
  }

  async run(isOver: () => boolean): Promise<void> {
    await Promise.all(Array.from({ length: CONTENDERS }, () => this.#contend(isOver)));
  }

  async #contend(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      try {
        const lock = await this.#config.lock("job", { leaseTtlSeconds: TTL_SECONDS });
        const fromMs = performance.now();
        await sleep(HELD_MS);
        if (lock.lost.aborted)
          this.#result.problems.push(`lock: token ${lock.fencingToken} is lost: ${lock.lost.reason}`);
        this.#held.push({ token: lock.fencingToken, fromMs, toMs: performance.now() });
        this.#result.locks++;
        await lock.release();
      } catch (error) {
        // Its place in line ends with its lease.
        if (!isJadeError(error)) throw error;
      }
    }
  }

  judge(): void {
    const held = this.#held.sort((a, b) => a.fromMs - b.fromMs);
    for (const [index, { token, fromMs }] of held.entries()) {
      const before = held[index - 1];
      if (!before) continue;
      if (fromMs < before.toMs) this.#result.problems.push(`lock: ${token} and ${before.token} were held at once`);
      if (token <= before.token) this.#result.problems.push(`lock: token ${token} follows ${before.token}`);
    }
    if (held.length === 0) this.#result.problems.push("lock: nobody ever had it");
  }
}
