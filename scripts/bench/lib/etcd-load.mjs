// The shapes of the config benchmark against etcd through its Node client (gRPC, one HTTP/2 connection a client).

import { Etcd3 } from "etcd3";

export async function etcdLoad({ port, connections, inFlight, op, nextKey, value, recorder }) {
  const clients = Array.from({ length: connections }, () => new Etcd3({ hosts: `http://127.0.0.1:${port}` }));
  const timing = recorder();
  const worker = async (client) => {
    while (!timing.isOver) {
      const beganMs = performance.now();
      const answer =
        op === "config-put" ? await client.put(nextKey()).value(value) : await client.get(nextKey()).buffer();
      if (answer === null) timing.failed("a key is missing in etcd");
      else timing.done(beganMs, performance.now());
    }
  };
  await Promise.all(clients.flatMap((client) => Array.from({ length: inFlight }, () => worker(client))));
  for (const client of clients) client.close();
  return timing;
}

/** Fills etcd with the keys that gets will ask for. */
export async function etcdPreload({ port, prefix, count, value }) {
  const client = new Etcd3({ hosts: `http://127.0.0.1:${port}` });
  for (let start = 0; start < count; start += 500) {
    const keys = Array.from({ length: Math.min(500, count - start) }, (_, i) => `${prefix}${start + i}`);
    await Promise.all(keys.map((key) => client.put(key).value(value)));
  }
  client.close();
}
