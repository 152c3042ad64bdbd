// Schedulers of which one leads: the leader is killed and another leads; a leader that was only paused is refused by its fencing token.
// Shows: config.elect, config.observe, and what the token is for: a paused process does not know that its lease ended.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/scheduler-election.mjs   (TTL_SECONDS to choose another time to live)
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const ttlSeconds = Number(process.env.TTL_SECONDS ?? 2);
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-election");

/** A scheduler: stands for election, and runs jobs while it leads. It never looks at `lost`: the resource must be safe all the same. */
async function schedule(host, resourceUrl) {
  const leadership = await config.elect("scheduler", { leaseTtlSeconds: ttlSeconds, value: { host } });
  for (;;) {
    const { status } = await fetch(`${resourceUrl}?token=${leadership.fencingToken}`, { method: "POST" });
    if (status === 409) {
      process.send({ refused: leadership.fencingToken });
      process.disconnect();
      client.close();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What is protected: it takes no token that is lower than one it has seen. */
async function openResource() {
  let highest = 0;
  const server = createServer((request, response) => {
    const token = Number(new URL(request.url, "http://localhost").searchParams.get("token"));
    highest = Math.max(highest, token);
    response.writeHead(token < highest ? 409 : 200).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

async function main() {
  const resource = await openResource();
  const hosts = ["a", "b", "c"];
  const children = new Map(
    hosts.map((host) => [host, fork(fileURLToPath(import.meta.url), ["scheduler", host, resource.url])]),
  );
  const stop = new AbortController();
  const leaders = config.observe("scheduler", { signal: stop.signal });
  const nextLeader = async () => {
    for (;;) {
      const { value: leader } = await leaders.next();
      if (leader) return { host: leader.value.host, token: leader.fencingToken, atMs: performance.now() };
    }
  };
  try {
    const first = await nextLeader();
    const killedMs = performance.now();
    children.get(first.host).kill("SIGKILL");
    const second = await nextLeader();

    // The second one is paused, as by a long garbage collection, and goes on when another leads already.
    children.get(second.host).kill("SIGSTOP");
    const third = await nextLeader();
    // The new leader has been at the resource by then.
    await new Promise((resolve) => setTimeout(resolve, 500));
    const refusal = once(children.get(second.host), "message");
    children.get(second.host).kill("SIGCONT");
    const [{ refused }] = await refusal;

    const takeoverMs = Math.round(second.atMs - killedMs);
    const tokens = [first.token, second.token, third.token];
    console.log(JSON.stringify({ ttlMs: ttlSeconds * 1000, takeoverMs, tokens, staleTokenRefused: refused }));
  } finally {
    for (const child of children.values()) child.kill("SIGKILL");
    stop.abort();
    resource.close();
    client.close();
  }
}

if (process.argv[2] === "scheduler") await schedule(process.argv[3], process.argv[4]);
else await main();
