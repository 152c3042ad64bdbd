// Where a supervisor is asked: by the others for gossip and for what it measures, by its own zone's process for what it knows of all.
// On a unix socket; what comes from other machines has proved the cluster's key (tunnel.ts).
// Guarantees: a message that cannot be read is refused and changes nothing; requests are bounded. Must not: wake an object.
import { rmSync } from "node:fs";
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { z } from "zod";
import type { GossipMessage } from "../../cluster/gossip/types.ts";
import type { ClusterSeen, InstanceFigures } from "../../cluster/told.ts";

/** A table of all members that a deployment may have is far smaller. Bytes. */
const MAX_BODY_BYTES = 256 * 1024;
/** Of a message that nobody takes. Shorter than a period of gossip is long. Ms. */
const POST_TIMEOUT_MS = 900;
const ASK_TIMEOUT_MS = 1000;
/** Messages under way to one peer; more are dropped, as a network would. */
const MAX_POSTS = 8;

const memberShape = z.object({
  id: z.string(),
  address: z.string(),
  zone: z.string(),
  incarnation: z.int().min(0),
  state: z.enum(["alive", "suspect", "failed", "left"]),
});

const messageShape = z.object({
  kind: z.enum(["ping", "ack", "request", "sync", "synced"]),
  from: z.string(),
  address: z.string(),
  sequence: z.int().min(0),
  target: z.string().optional(),
  updates: z.array(memberShape).max(1000),
});

export interface PeerDeskOptions {
  readonly gossip: (message: GossipMessage) => void;
  readonly about: () => Promise<InstanceFigures>;
  readonly seen: () => Promise<ClusterSeen>;
}

async function bodyOf(incoming: IncomingMessage): Promise<string | undefined> {
  let text = "";
  incoming.setEncoding("utf8");
  for await (const part of incoming) {
    text += part as string;
    if (text.length > MAX_BODY_BYTES) return undefined;
  }
  return text;
}

function messageOf(text: string): GossipMessage | undefined {
  try {
    return messageShape.parse(JSON.parse(text));
  } catch {
    return undefined; // of another version, or not one of ours
  }
}

export class PeerDesk {
  readonly #options: PeerDeskOptions;
  readonly #server: Server;

  constructor(options: PeerDeskOptions) {
    this.#options = options;
    this.#server = createServer((incoming, response) => {
      this.#answer(incoming, response).catch(() => response.destroy());
    });
  }

  async listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ path }, resolve);
    });
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const what = `${incoming.method} ${incoming.url}`;
    if (what === "POST /gossip") {
      const message = messageOf((await bodyOf(incoming)) ?? "");
      if (message) this.#options.gossip(message);
      response.writeHead(message ? 204 : 400).end();
      return;
    }
    const asked = { "GET /about": this.#options.about, "GET /seen": this.#options.seen }[what];
    if (!asked) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(await asked()));
  }
}

export interface SocketCall {
  readonly socketPath: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body: string;
  readonly timeoutMs: number;
  readonly agent?: Agent;
}

/** The body of a good answer. Rejects on any other, and when it is late. */
export function callSocket({ body, timeoutMs, ...where }: SocketCall): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { host: "jade-db", "content-length": Buffer.byteLength(body) };
    const asking = request({ ...where, headers, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("error", reject).on("end", () => {
        if (response.statusCode! < 300) resolve(text);
        else reject(new Error(`answered ${response.statusCode}`));
      });
    });
    asking.on("error", reject).end(body);
  });
}

/** The ways to all supervisors, by zone. */
export class PeerCalls {
  readonly #paths: Readonly<Record<string, string>>;
  readonly #agents = new Map<string, Agent>();
  readonly #posting = new Map<string, number>();

  /** @param paths zone → unix socket */
  constructor(paths: Readonly<Record<string, string>>) {
    this.#paths = paths;
  }

  /** As a datagram: it arrives or not, and nobody hears which. Resolves when that is decided. */
  async post(zone: string, message: GossipMessage): Promise<void> {
    const count = this.#posting.get(zone) ?? 0;
    if (this.#paths[zone] === undefined || count >= MAX_POSTS) return;
    this.#posting.set(zone, count + 1);
    const body = JSON.stringify(message);
    try {
      await this.#call(zone, { method: "POST", path: "/gossip", body, timeoutMs: POST_TIMEOUT_MS });
    } catch {
      // Lost.
    } finally {
      this.#posting.set(zone, this.#posting.get(zone)! - 1);
    }
  }

  /** Undefined = it did not answer in time. */
  async about(zone: string): Promise<InstanceFigures | undefined> {
    try {
      const text = await this.#call(zone, { method: "GET", path: "/about", body: "", timeoutMs: ASK_TIMEOUT_MS });
      return JSON.parse(text) as InstanceFigures;
    } catch {
      return undefined;
    }
  }

  stop(): void {
    for (const agent of this.#agents.values()) agent.destroy();
  }

  #agent(zone: string): Agent {
    let agent = this.#agents.get(zone);
    if (!agent) {
      agent = new Agent({ keepAlive: true, maxSockets: MAX_POSTS });
      this.#agents.set(zone, agent);
    }
    return agent;
  }

  #call(zone: string, ask: Pick<SocketCall, "method" | "path" | "body" | "timeoutMs">): Promise<string> {
    return callSocket({ ...ask, socketPath: this.#paths[zone]!, agent: this.#agent(zone) });
  }
}
