// The same session load through the SDK itself: shows what the SDK costs above bare frames.

import { JadeClient } from "../../../src/client/index.ts";

export async function sdkLoad({ port, apiKey, inFlight, op, nextKey, value, recorder }) {
  const client = new JadeClient({ url: `http://127.0.0.1:${port}`, apiKey, transport: "session" });
  const parsed = JSON.parse(value);
  await client.kv.get("warm-up");
  const timing = recorder();
  const worker = async () => {
    while (!timing.isOver) {
      const beganMs = performance.now();
      try {
        if (op === "put") await client.kv.put(nextKey(), parsed);
        else await client.kv.get(nextKey());
        timing.done(beganMs, performance.now());
      } catch (error) {
        timing.failed(error);
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  client.close();
  return timing;
}
