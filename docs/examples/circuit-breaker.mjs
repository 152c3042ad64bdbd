// One circuit breaker for many instances: whoever sees the failures opens it for all; it half-opens by itself when its lease ends.
// Shows: `ifAbsent` (one of many opens it), a key under a lease as a timer, `cached` to look at it without a request.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/circuit-breaker.mjs
import { isPreconditionFailed, JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-breaker");
const key = "breakers/payment";
const openSeconds = 2;
await config.delete(key);
const caches = await Promise.all(Array.from({ length: 8 }, () => config.cached({ prefix: "breakers/" })));
const isOpen = (cache) => cache.get(key) !== undefined;

/** Opens it for all; false: another one was faster. */
async function open(by) {
  // Not kept alive: when it ends, the breaker lets calls through again.
  const { leaseId } = await config.leases.grant(openSeconds);
  try {
    await config.put(key, { by }, { ifAbsent: true, leaseId });
    return true;
  } catch (error) {
    if (!isPreconditionFailed(error)) throw error;
    await config.leases.revoke(leaseId);
    return false;
  }
}

const until = async (condition) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
};
const closedAtFirst = !caches.some(isOpen);
const opened = await Promise.all(caches.map((_, i) => open(i)));
await until(() => caches.every(isOpen));
const beganMs = performance.now();
await until(() => !caches.some(isOpen));
const openMs = Math.round(performance.now() - beganMs);
console.log(JSON.stringify({ closedAtFirst, openedBy: opened.filter(Boolean).length, openMs }));
for (const cache of caches) cache.close();
client.close();
