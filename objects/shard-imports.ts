// Imports into a shard of vectors go on behind calls: one commit a turn; what must wait is tried again.
import type { BehindSearches } from "../src/vector/shard/behind-searches.ts";
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";

/** Rows of an import that find no room are tried again after this. Ms. */
const IMPORT_RETRY_MS = 200;

export interface ShardImportsOptions {
  /** Undefined = there is no shard. */
  readonly desk: () => ShardDesk | undefined;
  readonly behind: BehindSearches;
  readonly onBegun: () => void;
  readonly onTurn: () => void;
  /** Half a turn may be in memory: what is stored is the truth. */
  readonly onFailed: (error: unknown) => void;
}

export class ShardImports {
  readonly #options: ShardImportsOptions;
  #isRunning = false;

  constructor(options: ShardImportsOptions) {
    this.#options = options;
  }

  /** Begins what is due. */
  goOn(): void {
    const desk = this.#options.desk();
    if (this.#isRunning || !desk?.imports.isDue) return;
    this.#isRunning = true;
    this.#options.onBegun();
    this.#options.behind.add("write", () => this.#slice(desk));
  }

  #slice(desk: ShardDesk): void {
    this.#isRunning = false;
    if (this.#options.desk() !== desk) return;
    let mustWait = false;
    try {
      mustWait = !desk.importNext();
    } catch (error) {
      return this.#options.onFailed(error);
    }
    this.#options.onTurn();
    if (!desk.imports.isDue) return;
    this.#isRunning = true;
    if (mustWait) setTimeout(() => this.#slice(desk), IMPORT_RETRY_MS);
    else this.#options.behind.add("write", () => this.#slice(desk));
  }
}
