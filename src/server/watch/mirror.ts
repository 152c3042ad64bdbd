// The newest changes of one keyspace in a front's memory, and the watches that live on them: src/config/watch-hub.ts fed by one watch of
// all keys under one token. Guarantees: what clients are told is what the server told under that very token; they are told of each
// revision once, over lost connections to the server too; a watch that needs older revisions is sent to the server itself.
// Must not: serve anything to another token.

import type { Change } from "../../config/keyspace.ts";
import { FIRST_CHANGE } from "../../config/limits.ts";
import type { UnreadBudget } from "../../config/watch-budget.ts";
import type { WatchConnection, WatchPort } from "../../config/watch-connection.ts";
import { CopyRequests } from "../../config/watch-copy.ts";
import { WatchHub } from "../../config/watch-hub.ts";
import { WatchRunner } from "../../config/watch-runner.ts";
import type { ConfigEvent } from "../../wire/config.ts";
import { NO_END } from "../../wire/config-keys.ts";
import type { WatchRequest } from "../../wire/config-watch.ts";
import type { TakenMessage, WatchStream } from "../../wire/config-watch-stream.ts";
import { Feed, type Refusal } from "./feed.ts";
import { FRAMES } from "./frames.ts";
import { MIRROR_BACKLOG_REVISIONS, MIRROR_BOUNDS } from "./limits.ts";
import type { Upstream } from "./own-link.ts";

const CLOSE_POLICY = 1008;
const CLOSE_TRY_AGAIN = 1013;

export interface MirrorOptions {
  readonly upstream: Upstream;
  readonly budget: UnreadBudget;
  /** It serves nobody any more; all of its clients are told why. */
  readonly onEnd: () => void;
}

type Events = Extract<TakenMessage, { kind: "events" }>;

export class Mirror {
  readonly #options: MirrorOptions;
  readonly #feed: Feed;
  readonly #hub: WatchHub;
  readonly #runner: WatchRunner;
  readonly #requests: CopyRequests;
  readonly #connections = new Set<WatchConnection>();
  /** The server's answer to the first upgrade: undefined = it was let in. */
  readonly opened: Promise<Refusal | undefined>;
  #opening: (refusal: Refusal | undefined) => void = () => undefined;
  #stream: WatchStream | undefined;
  /** `asking`: for the server's revision; `filling`: with what was before it; `live`. */
  #state: "asking" | "filling" | "live" = "asking";
  #revision = 0;
  #term = 0;
  #partial: ConfigEvent[] = [];
  /** Who waits for the answer that is under way, and for the next one. */
  #asked: (() => void)[] = [];
  #asking: (() => void)[] = [];
  #nextId = 1;

  constructor(options: MirrorOptions) {
    this.#options = options;
    const mirror = this;
    this.#hub = new WatchHub({
      source: {
        get revision() {
          return mirror.#revision;
        },
        get term() {
          return mirror.#term;
        },
        get compactedRevision() {
          return mirror.#oldest;
        },
        lastSeq: 0,
        log: () => [],
        endedBy: ({ ended }) => ended && { ...ended.version, value: ended.value },
      },
      registry: { added: none, removed: none, ended: none, remember: none },
      now: Date.now,
      bounds: MIRROR_BOUNDS,
      budget: options.budget,
      // A client that comes back and asks for what is not here gets a link of its own.
      elsewhere: none,
    });
    this.#runner = new WatchRunner(this.#hub, (delayMs, run) => {
      if (delayMs === 0) setImmediate(run);
      else setTimeout(run, delayMs).unref();
    });
    const afterwards = (): void => this.#runner.schedule();
    this.#requests = new CopyRequests({ hub: this.#hub, caughtUp: () => this.#caughtUp(), afterwards });
    this.opened = new Promise((resolve) => {
      this.#opening = resolve;
    });
    this.#feed = new Feed({
      upstream: options.upstream,
      onOpen: (stream) => this.#begin(stream),
      onMessage: (message) => this.#take(message),
      onLost: () => {
        this.#stream = undefined;
        this.#partial = [];
      },
      onEnd: (refusal, reason) => this.#end(refusal, reason),
    });
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get upstream(): Upstream {
    return this.#options.upstream;
  }

  /** What only the server can tell from its beginning. */
  lacks(request: WatchRequest): boolean {
    const { startRevision = 0 } = request.kind === "create" ? request : {};
    return startRevision > 0 && startRevision < this.#oldest;
  }

  get #oldest(): number {
    return this.#hub.oldestHeld ?? this.#revision + 1;
  }

  connect(port: WatchPort, encoding: keyof typeof FRAMES): WatchConnection {
    const connection = this.#hub.connect(this.#nextId++, port, FRAMES[encoding]);
    this.#connections.add(connection);
    return connection;
  }

  receive(connection: WatchConnection, requests: readonly WatchRequest[], bytes: number): void {
    this.#requests.take(connection, requests, bytes);
    this.#runner.schedule();
  }

  disconnect(connection: WatchConnection): void {
    this.#hub.disconnect(connection);
    this.#connections.delete(connection);
  }

  close(): void {
    this.#feed.close();
    this.#opening({ status: 503, body: "" });
    this.#endAll(CLOSE_TRY_AGAIN, "the front ends: connect again");
  }

  #begin(stream: WatchStream): void {
    this.#stream = stream;
    if (this.#state === "asking") return stream.progress();
    this.#create(this.#revision + 1);
  }

  /** A watch of everything, and the question when that is as far as the server. */
  #create(startRevision: number): void {
    this.#revision = startRevision - 1;
    this.#asked.push(...this.#asking.splice(0));
    const all = { key: "\0", rangeEnd: NO_END, prevKv: true, fragment: true };
    this.#stream!.create({ ...all, watchId: 0, startRevision });
    this.#stream!.progress();
  }

  #take(message: TakenMessage): void {
    const { header } = message;
    switch (message.kind) {
      case "events":
        return this.#events(message);
      case "created":
        this.#term = header.term;
        // Its log went back, or it is another keyspace under this name.
        if (header.revision < this.#revision) this.#startOver();
        return;
      case "progress":
        return this.#state === "asking" ? this.#fill(header.revision) : this.#reached(header.revision);
      case "canceled":
        // What was after that is held: what a revision deleted may be compacted with it.
        if (this.#state === "filling" && message.compactRevision > 0) this.#create(message.compactRevision + 1);
        else this.#startOver();
        return;
      case "refused":
        return this.#startOver();
      default:
        message satisfies never;
    }
  }

  #fill(revision: number): void {
    this.#state = "filling";
    this.#create(Math.max(FIRST_CHANGE, revision + 1 - MIRROR_BACKLOG_REVISIONS));
  }

  #events({ header, events, fragment }: Events): void {
    this.#partial.push(...events);
    if (fragment) return;
    const changes = this.#partial.map(changeOf);
    this.#partial = [];
    this.#term = header.term;
    // Every revision changed something, so each comes.
    if (header.revision !== this.#revision + 1) return this.#startOver();
    this.#revision = header.revision;
    this.#hub.changed(header.revision, changes);
    this.#runner.flush();
  }

  /** The server's answer came behind everything that it had when it was asked; or there was no watch then, and another answer follows. */
  #reached(revision: number): void {
    if (revision > this.#revision) return;
    this.#state = "live";
    this.#opening(undefined);
    for (const done of this.#asked.splice(0)) done();
    if (this.#asking.length > 0) this.#ask();
  }

  #ask(): void {
    this.#asked = this.#asking.splice(0);
    this.#stream?.progress();
  }

  /** Without a connection it waits for the next one: nothing is said before the server has judged the token again. */
  #caughtUp(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#asking.push(() => resolve(true));
      if (this.#state === "live" && this.#stream && this.#asked.length === 0) this.#ask();
    });
  }

  /** Clients resume: at the server, where this mirror lacks what comes next for them. */
  #startOver(): void {
    this.#feed.close();
    this.#opening({ status: 503, body: "" });
    this.#endAll(CLOSE_TRY_AGAIN, "the front begins anew: connect again");
    this.#options.onEnd();
  }

  #end(refusal: Refusal | undefined, reason: string): void {
    this.#opening(refusal ?? { status: 401, body: "" });
    this.#endAll(CLOSE_POLICY, reason);
    this.#options.onEnd();
  }

  #endAll(code: number, reason: string): void {
    for (const connection of this.#connections) {
      connection.close(code, reason);
      this.#hub.disconnect(connection);
    }
    this.#connections.clear();
  }
}

const none = (): void => undefined;

function changeOf({ type, kv, prevKv }: ConfigEvent): Change {
  const { key, modRevision: revision, createRevision, version, lease, value } = kv;
  const record = { type, key, revision, createRevision, version, lease, value, chain: 0, term: 0 };
  const ended = prevKv && { version: { ...prevKv, seq: 0 }, value: prevKv.value };
  // The bytes stand for the size of the record.
  return { seq: 0, bytes: value, record: { ...record, endedMod: 0, endedSeq: 0 }, ended };
}
