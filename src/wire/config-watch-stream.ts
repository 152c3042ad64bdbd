// The client's end of one watch connection: requests out, messages in, as one face of it sees them (config-watch.ts).
// Guarantees: pings are answered once their frame was taken; the messages of a frame come in order. Must not: open or close
// connections, or remember revisions: who resumes knows what it has handled.
import { ByteWriter } from "./bytes.ts";
import {
  readWatchMessages,
  type WatchCreate,
  type WatchId,
  type WatchMessage,
  writeWatchRequest,
} from "./config-watch.ts";

export type TakenMessage = Exclude<WatchMessage, { kind: "ping" }>;

export interface WatchStreamOptions {
  readonly send: (frame: Uint8Array) => void;
  /** A promise holds up the answers to pings, and so in the end the keyspace. Its messages must be worked off one frame after another. */
  readonly onMessage: (message: TakenMessage) => void | Promise<void>;
}

export class WatchStream {
  readonly #options: WatchStreamOptions;
  readonly #writer = new ByteWriter(256);
  #taken: Promise<void> | undefined;

  constructor(options: WatchStreamOptions) {
    this.#options = options;
  }

  create(create: Omit<WatchCreate, "kind">): void {
    this.createAll([create]);
  }

  /** Many in one frame. */
  createAll(creates: readonly Omit<WatchCreate, "kind">[]): void {
    this.#writer.reset();
    for (const create of creates) writeWatchRequest(this.#writer, { kind: "create", ...create });
    this.#options.send(this.#writer.take());
  }

  cancel(watchId: WatchId): void {
    this.#send({ kind: "cancel", watchId });
  }

  progress(): void {
    this.#send({ kind: "progress" });
  }

  /** Throws MalformedBytes. */
  receive(frame: Uint8Array): void {
    for (const message of readWatchMessages(frame)) {
      if (this.#taken) this.#chain(() => this.#take(message));
      else {
        const taken = this.#take(message);
        if (taken) this.#chain(() => taken);
      }
    }
  }

  #take(message: WatchMessage): void | Promise<void> {
    if (message.kind === "ping") this.#send({ kind: "pong", mark: message.mark });
    else return this.#options.onMessage(message);
  }

  #chain(next: () => void | Promise<void>): void {
    const taken = (this.#taken ?? Promise.resolve()).then(next).then(() => {
      if (this.#taken === taken) this.#taken = undefined;
    });
    this.#taken = taken;
  }

  #send(request: Parameters<typeof writeWatchRequest>[1]): void {
    this.#writer.reset();
    writeWatchRequest(this.#writer, request);
    this.#options.send(this.#writer.take());
  }
}
