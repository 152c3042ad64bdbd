// Stands before the development bucket, as a process of its own: one port for each instance, so that what one of them asks can be made slow,
// failed once, or held back. Told by messages of the process that forked it (bucket-way.ts).
// Guarantees: requests pass byte for byte, with the host that they were signed for; a held PUT arrives even if who sent it is gone.
import { Agent, createServer, type IncomingMessage, type ServerResponse, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { ToFront, Told, Trick } from "./bucket-way.ts";

const agent = new Agent({ keepAlive: true, maxSockets: 256 });
let latencyMs = 0;
let to = "";
let trick: Trick | undefined;

function tell(told: Told): void {
  process.send?.(told);
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

function pass(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const { method, url, headers } = request;
  const { hostname, port } = new URL(to);
  const onward = send({ agent, hostname, port, method, path: url, headers }, (answer) => {
    response.writeHead(answer.statusCode!, answer.headers);
    answer.on("error", () => response.destroy()).pipe(response);
  });
  // The bucket is not there: to who asks the connection breaks.
  onward.on("error", () => response.destroy());
  onward.end(body);
}

/** True = it was dealt with. */
async function tricked(zone: string, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  const now = trick;
  const { method, url = "" } = request;
  if (!now || method !== "PUT" || !new RegExp(now.path).test(url)) return false;
  trick = undefined;
  tell({ kind: "did", zone, path: url });
  switch (now.kind) {
    case "fail": {
      const text = "<Error><Code>InternalError</Code><Message>made to fail</Message></Error>";
      response.writeHead(500, { "content-type": "application/xml", "content-length": text.length }).end(text);
      return true;
    }
    case "reset":
      request.socket.resetAndDestroy();
      return true;
    case "hold":
      await sleep(now.forMs);
      return false;
    default:
      return now satisfies never;
  }
}

async function handle(zone: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.on("error", () => undefined); // who asked is gone
  try {
    const body = await bodyOf(request);
    if (latencyMs > 0) await sleep(latencyMs);
    if (await tricked(zone, request, response)) return;
    pass(request, response, body);
  } catch {
    response.destroy(); // cut off while it asked
  }
}

async function listen(host: string, zones: readonly string[]): Promise<void> {
  const ports: Record<string, number> = {};
  for (const zone of zones) {
    const server = createServer((request, response) => void handle(zone, request, response));
    server.keepAliveTimeout = 60_000;
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    ports[zone] = (server.address() as AddressInfo).port;
  }
  tell({ kind: "listening", ports });
}

process.on("message", (message: ToFront) => {
  switch (message.kind) {
    case "listen":
      to = message.to;
      void listen(message.host, message.zones);
      return;
    case "latency":
      latencyMs = message.ms;
      return;
    case "trick":
      trick = message.trick;
      return;
    default:
      message satisfies never;
  }
});
process.on("disconnect", () => process.exit(0));
