// An HTTP receiver of webhooks that loses some of its answers, and remembers which event it saw first when.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Line } from "./watcher.ts";

/** The answer of each so manieth request is lost. */
const LOST_EVERY = 7;

export class Receiver {
  readonly #server: Server;
  readonly #seen = new Map<string, Line>();
  requests = 0;
  repeats = 0;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      this.#take(body);
      if (++this.requests % LOST_EVERY === 0) response.destroy();
      else response.end();
    });
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    await new Promise<void>((resolve) => receiver.#server.listen(0, "127.0.0.1", resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`;
  }

  /** In the order in which they came first. */
  get firstSeen(): readonly Line[] {
    return [...this.#seen.values()];
  }

  #take(body: string): void {
    const { events } = (JSON.parse(body) as { data: { events: (Line & { id: string })[] } }).data;
    for (const event of events) {
      if (this.#seen.has(event.id)) this.repeats++;
      else this.#seen.set(event.id, event);
    }
  }

  async until(count: number, patienceMs: number): Promise<void> {
    const endMs = performance.now() + patienceMs;
    while (this.#seen.size < count && performance.now() < endMs) await sleep(20);
  }

  async end(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
