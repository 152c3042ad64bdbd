// A real HTTP receiver of webhooks: notes each event once, by its id, and which requests were not signed as Standard Webhooks say.
// Must not: answer anything but 200 at once.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";

const KEY_BYTES = 24;

export interface ReceivedEvent {
  readonly id: string;
  readonly type: string;
  readonly key: string;
  readonly value: unknown;
}

export class WebhookReceiver {
  /** To create the webhook with. */
  readonly secret = `whsec_${randomBytes(KEY_BYTES).toString("base64")}`;
  readonly #server: Server;
  readonly #events = new Map<string, ReceivedEvent>();
  #requests = 0;
  #unsigned = 0;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      this.#take(request.headers, body);
      response.end();
    });
  }

  static async start(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    await new Promise<void>((resolve) => receiver.#server.listen(0, "127.0.0.1", resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`;
  }

  /** In the order in which they first came. */
  get events(): readonly ReceivedEvent[] {
    return [...this.#events.values()];
  }

  get requests(): { readonly all: number; readonly unsigned: number } {
    return { all: this.#requests, unsigned: this.#unsigned };
  }

  #take(headers: IncomingHttpHeaders, body: string): void {
    this.#requests++;
    if (!this.#isSigned(headers, body)) this.#unsigned++;
    const { data } = JSON.parse(body) as { readonly data: { readonly events: readonly ReceivedEvent[] } };
    for (const event of data.events) if (!this.#events.has(event.id)) this.#events.set(event.id, event);
  }

  #isSigned(headers: IncomingHttpHeaders, body: string): boolean {
    const key = Buffer.from(this.secret.slice("whsec_".length), "base64");
    const text = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
    const expected = createHmac("sha256", key).update(text).digest();
    return String(headers["webhook-signature"])
      .split(" ")
      .some((signature) => {
        const [version, base64 = ""] = signature.split(",");
        const given = Buffer.from(base64, "base64");
        return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
      });
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** Numbers of the cluster's events among them, where each key is that of the event that it holds. */
export function eventNumbers(events: readonly ReceivedEvent[]): readonly number[] {
  return events.map(({ key, value }) => {
    const { number } = value as { readonly number: number };
    return key === `cluster/events/${String(number).padStart(16, "0")}` ? number : Number.NaN;
  });
}
