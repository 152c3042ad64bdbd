// The same shapes against Redis through its Node client, which pipelines what is in flight on one connection.

import { createClient } from "redis";

export async function redisLoad({ port, connections, inFlight, op, nextKey, value, recorder }) {
  const clients = await Promise.all(
    Array.from({ length: connections }, () => createClient({ url: `redis://127.0.0.1:${port}` }).connect()),
  );
  const timing = recorder();
  const worker = async (client) => {
    while (!timing.isOver) {
      const beganMs = performance.now();
      const answer = op === "put" ? await client.set(nextKey(), value) : await client.get(nextKey());
      if (answer === null) timing.failed("a key is missing in Redis");
      else timing.done(beganMs, performance.now());
    }
  };
  await Promise.all(clients.flatMap((client) => Array.from({ length: inFlight }, () => worker(client))));
  for (const client of clients) client.destroy();
  return timing;
}

/** Fills Redis with the keys that gets will ask for. */
export async function redisPreload({ port, oldCount, liveCount, newCount, value }) {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  for (const [prefix, count] of [
    ["old-", oldCount],
    ["live-", liveCount],
    ["new-", newCount],
  ]) {
    for (let start = 0; start < count; start += 1000) {
      const keys = Array.from({ length: Math.min(1000, count - start) }, (_, i) => `${prefix}${start + i}`);
      await Promise.all(keys.map((key) => client.set(key, value)));
    }
  }
  client.destroy();
}
