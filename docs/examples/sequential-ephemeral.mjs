// ZooKeeper's lock recipe: a sequential key under a lease, the lowest one owns, everyone else watches only the key before its own.
// Shows: `sequential` and `leaseId` in put, watching one key; no herd (a release wakes one), and a member that dies in the line.
// `config.lock` does all of this at the server; the recipe is for those who bring it along.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/sequential-ephemeral.mjs
import { JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const members = 10;
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-recipe");
const line = "queue/member-";
let wakes = 0;

/** Resolves when a key is gone that was there at `revision`. */
async function deleted(key, revision) {
  for await (const { events } of config.watch(key, { startRevision: revision + 1, noPut: true })) {
    if (events.length > 0) break;
  }
  wakes++;
}

/** Stands in line under a lease; `turn` resolves when it owns. */
async function enter() {
  const lease = await config.leases.keep(5);
  const { key } = await config.put(line, {}, { sequential: true, leaseId: lease.leaseId });
  const turn = async () => {
    for (;;) {
      // What is before me, the nearest first.
      const { items, revision } = await config.rangePage({
        start: line,
        end: key,
        keysOnly: true,
        order: "desc",
        limit: 1,
      });
      if (items.length === 0) return;
      await deleted(items[0].key, revision);
    }
  };
  return { key, lease, turn };
}

const places = [];
for (let i = 0; i < members; i++) places.push(await enter());
const dead = places[4];
const order = [];
let owners = 0;
let mostOwners = 0;

async function work({ key, lease, turn }) {
  await turn();
  mostOwners = Math.max(mostOwners, ++owners);
  order.push(key);
  await new Promise((resolve) => setTimeout(resolve, 30));
  owners--;
  await lease.close();
}

// The fifth member's session ends while it waits: the one behind it looks again, and goes on waiting for the fourth.
const working = places.filter((place) => place !== dead).map(work);
await dead.lease.close();
await Promise.all(working);

const expected = places.filter((place) => place !== dead).map(({ key }) => key);
const inOrder = order.every((key, i) => key === expected[i]);
console.log(JSON.stringify({ members, worked: order.length, inOrder, mostOwners, wakes }));
client.close();
