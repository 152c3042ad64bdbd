// A configuration change reaches many instances: 500 watches over five connections, the time from the write to each of them.
// Shows: config.watch, watches that share a connection, that every instance sees every change once and in order.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/config-change.mjs   (INSTANCES, CLIENTS, CHANGES to choose other numbers)
import { JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const instances = Number(process.env.INSTANCES ?? 500);
const changes = Number(process.env.CHANGES ?? 40);
const connect = () => new JadeClient({ url: JADE_URL, apiKey });
const writer = connect();
const clients = Array.from({ length: Number(process.env.CLIENTS ?? 5) }, connect);
const key = "checkout/limits";

/** What an instance would do: take each new value over. Here it notes when the value came. */
async function instance(watch, arrivals) {
  for await (const { events } of watch) {
    for (const { entry } of events) arrivals.push({ number: entry.value.number, atMs: performance.now() });
    if (arrivals.length === changes) return;
  }
}

// The configuration is there before it changes; the first write of a namespace also registers it.
await writer.config.namespace("example-change").put(key, { requestsPerSecond: 99 });
const watches = Array.from({ length: instances }, (_, i) =>
  clients[i % clients.length].config.namespace("example-change").watch(key),
);
await Promise.all(watches.map((watch) => watch.started));
const seen = watches.map(() => []);
const running = watches.map((watch, i) => instance(watch, seen[i]));

const writtenMs = [];
for (let number = 0; number < changes; number++) {
  writtenMs.push(performance.now());
  await writer.config.namespace("example-change").put(key, { number, requestsPerSecond: 100 + number });
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await Promise.all(running);

const inOrder = seen.every((arrivals) => arrivals.every(({ number }, i) => number === i));
const delaysMs = seen.flat().map(({ number, atMs }) => atMs - writtenMs[number]);
delaysMs.sort((a, b) => a - b);
const share = (part) => Math.round(delaysMs[Math.ceil(delaysMs.length * part) - 1] * 10) / 10;
console.log(JSON.stringify({ instances, changes, inOrder, p50Ms: share(0.5), p99Ms: share(0.99), mostMs: share(1) }));
for (const client of [writer, ...clients]) client.close();
