// Requests to the watches of a copy of a keyspace. What a copy says must not be older than what its client may have seen elsewhere, so
// it asks where the copy comes from before it answers what names the present revision.
// Guarantees: the requests of a connection are answered in their order; what waits is bounded. Must not: know where the copy comes from.
import type { WatchRequest } from "../wire/config-watch.ts";
import { MAX_WAITING_REQUEST_BYTES } from "./limits.ts";
import type { WatchConnection } from "./watch-connection.ts";
import type { WatchHub } from "./watch-hub.ts";

const CLOSE_TRY_AGAIN = 1013;

export interface CopyRequestsOptions {
  readonly hub: WatchHub;
  /** Resolves when the copy is as new as its origin is now; to false when that is not to be known. */
  readonly caughtUp: () => Promise<boolean>;
  /** Requests were given to the hub later than `take` returned. */
  readonly afterwards: () => void;
}

/** What waits of one connection. */
interface Line {
  end: Promise<void>;
  bytes: number;
}

export class CopyRequests {
  readonly #options: CopyRequestsOptions;
  readonly #lines = new Map<WatchConnection, Line>();

  constructor(options: CopyRequestsOptions) {
    this.#options = options;
  }

  /** `bytes`: of the message that held them. */
  take(connection: WatchConnection, requests: readonly WatchRequest[], bytes: number): void {
    const { hub, caughtUp } = this.#options;
    const line = this.#lines.get(connection);
    const mustWait = requests.some(namesPresent);
    if (line || mustWait) this.#lineUp(connection, { requests, bytes, caughtUp: mustWait ? caughtUp() : undefined });
    else for (const request of requests) hub.receive(connection, request);
  }

  #lineUp(connection: WatchConnection, message: Waiting): void {
    const line = this.#lines.get(connection) ?? { end: Promise.resolve(), bytes: 0 };
    this.#lines.set(connection, line);
    line.bytes += message.bytes;
    if (line.bytes > MAX_WAITING_REQUEST_BYTES) return this.#sendAway(connection, "too many requests wait");
    const end = Promise.all([message.caughtUp, line.end]).then(([isCaughtUp]) => {
      line.bytes -= message.bytes;
      if (line.end === end) this.#lines.delete(connection);
      for (const request of message.requests) this.#receive(connection, request, isCaughtUp ?? true);
      this.#options.afterwards();
    });
    line.end = end;
  }

  /** Without its origin a copy can tell what follows a revision that the client names, and nothing of the present. */
  #receive(connection: WatchConnection, request: WatchRequest, isCaughtUp: boolean): void {
    const isPlaced = request.kind === "create" && (request.startRevision ?? 0) > 0;
    if (isCaughtUp || isPlaced || !namesPresent(request)) return this.#options.hub.receive(connection, request);
    this.#sendAway(connection, "the keyspace's owner does not answer: connect again");
  }

  #sendAway(connection: WatchConnection, reason: string): void {
    this.#lines.delete(connection);
    if (connection.isClosed) return;
    connection.close(CLOSE_TRY_AGAIN, reason);
    this.#options.hub.disconnect(connection);
  }
}

interface Waiting {
  readonly requests: readonly WatchRequest[];
  readonly bytes: number;
  readonly caughtUp: Promise<boolean> | undefined;
}

/** Its answer does. */
function namesPresent({ kind }: WatchRequest): boolean {
  return kind === "create" || kind === "progress";
}
