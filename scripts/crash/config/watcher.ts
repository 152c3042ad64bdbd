// A watch that is read to its end and remembered, with the time of each event.
import { setTimeout as sleep } from "node:timers/promises";
import type { Config, ConfigWatch, ConfigWatchRange } from "../../../src/client/index.ts";
import type { SeenEvent } from "../../history/commit-order.ts";

export interface Line {
  readonly revision: number;
  readonly type: "put" | "delete";
  readonly key: string;
}

export class Watcher {
  readonly name: string;
  readonly events: (SeenEvent & { readonly atMs: number })[] = [];
  readonly #range: ConfigWatchRange;
  readonly #watch: ConfigWatch<string>;
  #error: unknown;
  #isClosed = false;

  constructor(config: Config, range: ConfigWatchRange) {
    this.#range = range;
    this.name = JSON.stringify(range);
    this.#watch = config.watch<string>(range, { startRevision: 2 });
    void this.#read().catch((error: unknown) => {
      if (!this.#isClosed) this.#error = error;
    });
  }

  get lines(): readonly Line[] {
    return this.events;
  }

  covers(key: string): boolean {
    if (typeof this.#range === "string") return key === this.#range;
    return "prefix" in this.#range && key.startsWith(String(this.#range.prefix));
  }

  async #read(): Promise<void> {
    for await (const { revision, events } of this.#watch) {
      const atMs = performance.now();
      for (const event of events) {
        const head = { revision, key: String(event.key), modRevision: revision, atMs };
        if (event.type === "delete")
          this.events.push({ ...head, type: "delete", value: undefined, version: 0, createRevision: 0 });
        else {
          // Values of locks and leases repeat; only those of the lanes are written once.
          const { value, version, createRevision, modRevision } = event.entry;
          const isOnce = head.key.startsWith("w/");
          const shown = isOnce ? value : undefined;
          this.events.push({ ...head, type: "put", value: shown, version, createRevision, modRevision });
        }
      }
    }
  }

  async until(revision: number, patienceMs: number): Promise<void> {
    const endMs = performance.now() + patienceMs;
    while ((this.events.at(-1)?.revision ?? 0) < revision) {
      if (this.#error) throw this.#error;
      if (performance.now() > endMs) throw new Error(`the watch of ${this.name} did not get to revision ${revision}`);
      await sleep(20);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#watch.close();
  }
}
