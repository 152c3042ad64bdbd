// `client.config.cached`: a range held in memory, kept fresh by a watch.
// Guarantees: what it shows is the state of one revision, never one before what it showed; after a compaction it reads the range anew.
// Must not: write.
import type { ConfigEntry, ConfigKey, ConfigPage } from "./config-types.ts";
import type { ConfigWatch } from "./config-watch.ts";
import type { ConfigChange } from "./config-watch-events.ts";
import { isJadeError } from "./errors.ts";

export interface CacheSource<T> {
  /** A page of the range; all pages of one cursor's chain are of one revision. */
  page(cursor: string | undefined): Promise<ConfigPage<T>>;
  watch(startRevision: number): ConfigWatch<T>;
}

/** Bytes as keys compare by content. */
function nameOf(key: ConfigKey): string {
  return typeof key === "string" ? `t${key}` : `b${key.join()}`;
}

export class ConfigCache<T = unknown> {
  readonly #source: CacheSource<T>;
  #entries = new Map<string, ConfigEntry<T>>();
  #revision = 0;
  #watch: ConfigWatch<T> | undefined;
  #isClosed = false;
  #error: unknown;
  #waiting: { readonly revision: number; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] =
    [];

  constructor(source: CacheSource<T>) {
    this.#source = source;
  }

  /** Reads the range and begins to follow it. */
  async begin(): Promise<this> {
    await this.#load();
    void this.#follow();
    return this;
  }

  /** What it shows is the state as of then; grows with the changes of its range. */
  get revision(): number {
    return this.#revision;
  }

  /** Why it no longer follows: a key that no longer opens the tenant, or the like. */
  get error(): unknown {
    return this.#error;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: ConfigKey): ConfigEntry<T> | undefined {
    return this.#entries.get(nameOf(key));
  }

  entries(): IterableIterator<ConfigEntry<T>> {
    return this.#entries.values();
  }

  /** Resolves when it shows a change of this revision or a later one: a write of one's own in the range, for example. */
  atLeast(revision: number): Promise<void> {
    if (this.#revision >= revision) return Promise.resolve();
    if (this.#error !== undefined) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => this.#waiting.push({ revision, resolve, reject }));
  }

  close(): void {
    this.#isClosed = true;
    this.#watch?.close();
  }

  async #load(): Promise<void> {
    const entries = new Map<string, ConfigEntry<T>>();
    let cursor: string | undefined;
    let revision = 0;
    do {
      const page = await this.#source.page(cursor);
      for (const entry of page.items) entries.set(nameOf(entry.key), entry);
      revision = page.revision;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
    this.#entries = entries;
    this.#reached(revision);
  }

  async #follow(): Promise<void> {
    while (!this.#isClosed) {
      this.#watch = this.#source.watch(this.#revision + 1);
      try {
        for await (const change of this.#watch) this.#apply(change);
      } catch (error) {
        try {
          if (!isJadeError(error) || error.code !== "compacted") throw error;
          await this.#load();
        } catch (final) {
          return this.#fail(final);
        }
      }
    }
  }

  #apply({ revision, events }: ConfigChange<T>): void {
    for (const event of events) {
      if (event.type === "put") this.#entries.set(nameOf(event.key), event.entry);
      else this.#entries.delete(nameOf(event.key));
    }
    this.#reached(revision);
  }

  #reached(revision: number): void {
    this.#revision = Math.max(this.#revision, revision);
    const due = this.#waiting.filter((waiting) => waiting.revision <= this.#revision);
    this.#waiting = this.#waiting.filter((waiting) => waiting.revision > this.#revision);
    for (const { resolve } of due) resolve();
  }

  #fail(error: unknown): void {
    this.#error = error;
    for (const { reject } of this.#waiting) reject(error);
    this.#waiting = [];
  }
}
