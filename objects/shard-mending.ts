// A shard that cannot be opened since something of it is damaged: opened when a copy has put that right.
// Must not: know how it is put right.
import type { Logger } from "../src/telemetry/logger.ts";

/** Damaged places that are put right for one call. */
export const MOST_REPAIRS = 64;

export interface ShardMendingOptions {
  readonly log: Logger;
  /** True = it is right again. */
  readonly heal: (error: unknown) => Promise<boolean>;
  /** Undefined = there is no shard. @throws what is damaged */
  readonly open: () => unknown;
}

export class ShardMending {
  readonly #options: ShardMendingOptions;
  /** Why it could not be opened. */
  #unopened: unknown;
  #mending: Promise<void> | undefined;

  constructor(options: ShardMendingOptions) {
    this.#options = options;
  }

  get isBroken(): boolean {
    return this.#unopened !== undefined;
  }

  /** What is damaged is not gone: its copies must not take it for that. */
  mustBeOpen(): void {
    if (this.isBroken) throw new Error("the shard cannot be opened");
  }

  /** Where it cannot be opened, the next call tries to have it put right. */
  tryToOpen(): void {
    this.#unopened = undefined;
    try {
      this.#options.open();
    } catch (error) {
      this.#unopened = error;
      this.#options.log.error("a vector shard cannot be opened", {}, error);
    }
  }

  /** One at a time; nothing where it is open. */
  async mend(): Promise<void> {
    if (!this.isBroken) return;
    this.#mending ??= this.#mendAll().finally(() => {
      this.#mending = undefined;
    });
    await this.#mending;
  }

  async #mendAll(): Promise<void> {
    for (let repairs = 0; repairs < MOST_REPAIRS && this.isBroken; repairs++) {
      if (!(await this.#options.heal(this.#unopened))) return;
      this.tryToOpen();
    }
  }

  forget(): void {
    this.#unopened = undefined;
  }
}
