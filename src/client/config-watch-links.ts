// The watch connections of a client, one for each namespace that it watches.
import { ConfigWatch, type ConfigWatchOptions } from "./config-watch.ts";
import type { ConfigWatchRange } from "./config-watch-events.ts";
import { ConfigWatchLink } from "./config-watch-link.ts";
import { JadeError } from "./errors.ts";
import type { ResolvedOptions } from "./options.ts";

export class WatchLinks {
  readonly #options: ResolvedOptions;
  readonly #diagnose: () => Promise<JadeError | undefined>;
  readonly #links = new Map<string, NamespaceWatches>();
  #isClosed = false;

  constructor(options: ResolvedOptions, diagnose: () => Promise<JadeError | undefined>) {
    this.#options = options;
    this.#diagnose = diagnose;
  }

  of(namespace = "default"): NamespaceWatches {
    if (this.#isClosed) throw new JadeError("clientClosed", "the client was closed");
    if (!this.#options.WebSocket)
      throw new TypeError(
        "this runtime has no WebSocket: pass one (`npm i ws`, then `WebSocket: ws.WebSocket`) or use Node 22 or newer",
      );
    let link = this.#links.get(namespace);
    if (!link) {
      link = new NamespaceWatches(new ConfigWatchLink({ client: this.#options, namespace, diagnose: this.#diagnose }));
      this.#links.set(namespace, link);
    }
    return link;
  }

  close(): void {
    this.#isClosed = true;
    for (const link of this.#links.values()) link.close();
  }
}

export class NamespaceWatches {
  readonly #link: ConfigWatchLink;

  constructor(link: ConfigWatchLink) {
    this.#link = link;
  }

  watch<T>(range: ConfigWatchRange, options: ConfigWatchOptions): ConfigWatch<T> {
    const watch = new ConfigWatch<T>(this.#link, range, options);
    this.#link.ask(watch as ConfigWatch);
    return watch;
  }

  close(): void {
    this.#link.close(new JadeError("clientClosed", "close() was called on the client"));
  }
}
