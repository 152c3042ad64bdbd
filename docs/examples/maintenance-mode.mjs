// Maintenance mode: one write stops all instances from taking work, and the work goes on only when all of them have said they stopped.
// Shows: membership by keys under leases, a watch that counts acknowledgements of one revision.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/maintenance-mode.mjs
import { JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-maintenance");
await config.deleteRange({ prefix: "" });
const instances = 10;
let taken = 0;

/** Takes work while there is no maintenance; says so by its own key. */
async function instance(id, stop) {
  const lease = await config.leases.keep(5);
  const say = (state) => config.put(`instances/${id}`, state, { leaseId: lease.leaseId });
  let works = true;
  const watch = config.watch("mode", { signal: stop });
  await watch.started;
  await say("working");
  const timer = setInterval(() => {
    if (works) taken++;
  }, 5);
  try {
    for await (const { events } of watch) {
      works = events.at(-1).type === "delete";
      await say(works ? "working" : "stopped");
    }
  } catch (error) {
    if (!stop.aborted) throw error;
  } finally {
    clearInterval(timer);
    await lease.close();
  }
}

/** Waits until all living instances say `state`. */
async function all(state) {
  const states = new Map();
  const { items, revision } = await config.rangePage({ prefix: "instances/" });
  for (const { key, value } of items) states.set(key, value);
  const isDone = () => states.size > 0 && [...states.values()].every((value) => value === state);
  if (isDone()) return states.size;
  for await (const { events } of config.watch({ prefix: "instances/" }, { startRevision: revision + 1 })) {
    for (const event of events) {
      if (event.type === "put") states.set(event.key, event.entry.value);
      else states.delete(event.key);
    }
    if (isDone()) break;
  }
  return states.size;
}

const stop = new AbortController();
const running = Array.from({ length: instances }, (_, i) => instance(i, stop.signal));
while ((await config.count({ prefix: "instances/" })) < instances);
await config.put("mode", { maintenance: "until 04:00" });
const stopped = await all("stopped");
const before = taken;
await new Promise((resolve) => setTimeout(resolve, 100));
const takenMeanwhile = taken - before;
await config.delete("mode");
const working = await all("working");
stop.abort();
await Promise.all(running);
console.log(JSON.stringify({ stopped, takenMeanwhile, working }));
client.close();
