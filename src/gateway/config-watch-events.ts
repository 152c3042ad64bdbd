// A watch as server-sent events. `id:` is the revision to go on after, so that a reader that comes back with Last-Event-ID misses nothing.
// Guarantees: the keyspace's pings are answered once the reader has taken what came before; when the keyspace's owner restarts the
// stream goes on by itself, without a gap or a repetition. Must not: hold more than one window of messages.
import { isLeaving } from "../../objects/leaving.ts";
import type { WatchOptions } from "../wire/config-watch.ts";
import { watchEventJson, watchEventsJson, watchMessageJson } from "../wire/config-watch-json.ts";
import type { TakenMessage } from "../wire/config-watch-stream.ts";
import { apiHeaders } from "./answers.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";
import type { KeyspaceName } from "./config-call.ts";
import { type ConfigWatch, openConfigWatch } from "./config-watch.ts";

/** A comment line now and then: proxies keep the stream open, and a reader that is gone is noticed. Ms. */
const KEEP_ALIVE_MS = 15_000;
/** Between attempts to reach the keyspace again; together longer than a takeover takes. Ms. */
const RETRY_MS: readonly number[] = [50, 200, 500, 1000, 2000, 3000, 5000, 5000, 5000, 5000, 5000];
/** When a reader is to come again after this process was stopped. Ms. */
const LEAVING_RETRY_MS = 500;
const CLOSE_POLICY = 1008;
const encoder = new TextEncoder();

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class WatchEvents {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #open: (watch: WatchEvents) => Promise<ConfigWatch>;
  readonly #options: WatchOptions;
  /** The first revision not sent whole; 0 = from now on. */
  #next: number;
  /** Events of revision `#next` sent already: a revision that broke off in its middle comes again from its beginning. */
  #sentOfNext = 0;
  #skip = 0;
  #watch: ConfigWatch | undefined;
  #isOpen = true;
  #isAnnounced = false;

  constructor(
    writable: WritableStream<Uint8Array>,
    options: WatchOptions,
    open: (watch: WatchEvents) => Promise<ConfigWatch>,
  ) {
    this.#writer = writable.getWriter();
    this.#options = options;
    this.#open = open;
    this.#next = options.startRevision ?? 0;
    this.#writer.closed.catch(() => undefined).finally(() => this.#end());
  }

  /** Throws when the keyspace refuses. */
  async begin(): Promise<void> {
    this.#watch = await this.#open(this);
    this.#skip = this.#sentOfNext;
    this.#watch.stream.create({ ...this.#options, fragment: true, watchId: 0, startRevision: this.#next });
  }

  async keepAlive(): Promise<void> {
    while (this.#isOpen) {
      await later(KEEP_ALIVE_MS);
      if (this.#isOpen) await this.#write(": keep-alive\n\n");
    }
  }

  async take(message: TakenMessage): Promise<void> {
    if (message.kind === "events") return this.#events(message);
    const isRepeated = message.kind === "created" && this.#isAnnounced;
    if (message.kind === "created") {
      this.#isAnnounced = true;
      if (this.#next === 0) this.#next = message.header.revision + 1;
    }
    if (message.kind === "progress") this.#next = Math.max(this.#next, message.header.revision + 1);
    if (!isRepeated) await this.#write(this.#framed(message.kind, watchMessageJson(message)));
    if (message.kind === "canceled" || message.kind === "refused") await this.#finish();
  }

  async lost(code: number, reason: string): Promise<void> {
    if (code === CLOSE_POLICY) {
      await this.#write(`event: closed\ndata: ${JSON.stringify({ type: "closed", reason })}\n\n`);
      return this.#finish();
    }
    if (isLeaving()) {
      // The reader comes again by itself, behind the last revision.
      await this.#write(`retry: ${LEAVING_RETRY_MS}\n\n`);
      return this.#finish();
    }
    for (const delayMs of RETRY_MS) {
      await later(delayMs);
      if (!this.#isOpen) return;
      try {
        return await this.begin();
      } catch {
        // The owner is not there yet, or refuses: the next attempt, and in the end the reader, find out.
      }
    }
    await this.#finish();
  }

  async #events({ header, events, fragment }: Extract<TakenMessage, { kind: "events" }>): Promise<void> {
    const fresh = events.slice(this.#skip);
    this.#skip = Math.max(0, this.#skip - events.length);
    if (fragment) this.#sentOfNext += fresh.length;
    else {
      this.#sentOfNext = 0;
      this.#next = header.revision + 1;
    }
    if (fresh.length === 0) return;
    const json = watchEventsJson({ header, fragment }, 0, fresh.map(watchEventJson).join());
    await this.#write(this.#framed("events", json));
  }

  #framed(event: string, json: string): string {
    return `id: ${this.#next - 1}\nevent: ${event}\ndata: ${json}\n\n`;
  }

  async #write(text: string): Promise<void> {
    try {
      await this.#writer.write(encoder.encode(text));
    } catch {
      this.#end(); // The reader is gone.
    }
  }

  async #finish(): Promise<void> {
    this.#end();
    await this.#writer.close().catch(() => undefined);
  }

  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#watch?.close();
  }
}

/** Throws when the keyspace refuses the connection; what it refuses of the watch is an event. */
export async function watchEvents(
  call: Call,
  principal: TenantPrincipal,
  keyspace: KeyspaceName,
  options: WatchOptions,
): Promise<Response> {
  const { readable, writable } = new IdentityTransformStream();
  const events = new WatchEvents(writable, options, (watch) =>
    openConfigWatch(call, principal, keyspace, {
      mayBeCopy: true,
      onMessage: (message) => watch.take(message),
      onClose: (code, reason) => call.waitUntil(watch.lost(code, reason)),
    }),
  );
  await events.begin();
  call.waitUntil(events.keepAlive());
  return new Response(readable, { headers: apiHeaders(call, undefined, "text/event-stream") });
}
