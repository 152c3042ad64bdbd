// Credentials are rotated while they are used: the old ones are accepted until every client has taken the new ones over.
// Shows: transactions (both credentials change in one revision), watches, and acknowledgements as keys under leases.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/credentials-rotation.mjs
import { configOp, JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-credentials");
const services = ["orders", "billing", "search"];
await config.deleteRange({ prefix: "" });
await config.put("database/accepted", ["secret-1"]);
await config.put("database/current", { version: 1, password: "secret-1" });

/** The database: it accepts what the store says, looked up in memory. */
const accepted = await config.cached({ prefix: "database/accepted" });
const login = (password) => accepted.get("database/accepted").value.includes(password);
let refused = 0;
let logins = 0;

/** Uses the credentials all the time, and says which version it has. */
async function service(name, stop) {
  const lease = await config.leases.keep(10);
  const current = await config.cached({ prefix: "database/current" });
  let acknowledged = 0;
  while (!stop.aborted) {
    const { version, password } = current.get("database/current").value;
    logins++;
    if (!login(password)) refused++;
    if (version !== acknowledged) await config.put(`acknowledged/${name}`, version, { leaseId: lease.leaseId });
    acknowledged = version;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  current.close();
  await lease.close();
}

/** Accept both, hand out the new one, wait for all who live, refuse the old one. */
async function rotate(version) {
  const password = `secret-${version}`;
  const { value: old } = await config.get("database/accepted");
  await config.put("database/accepted", [...old, password]);
  await accepted.atLeast((await config.status()).revision);
  const { revision } = await config
    .txn()
    .if("database/current", "value", "=", { version: version - 1, password: old.at(-1) })
    .onSuccess(configOp.put("database/current", { version, password }))
    .commit();
  const waiting = new Set();
  for await (const { key, value } of config.range({ prefix: "acknowledged/" })) if (value < version) waiting.add(key);
  const watch = config.watch({ prefix: "acknowledged/" }, { startRevision: revision + 1 });
  for await (const { events } of watch) {
    // Gone with its lease is as good as done.
    for (const event of events) if (event.type === "delete" || event.entry.value >= version) waiting.delete(event.key);
    if (waiting.size === 0) break;
  }
  await config.put("database/accepted", [password]);
}

const stop = new AbortController();
const running = services.map((name) => service(name, stop.signal));
while ((await config.count({ prefix: "acknowledged/" })) < services.length);
for (const version of [2, 3, 4]) await rotate(version);
stop.abort();
await Promise.all(running);
const { value } = await config.get("database/accepted");
console.log(JSON.stringify({ rotations: 3, accepted: value, logins: logins > 0, refused }));
accepted.close();
client.close();
