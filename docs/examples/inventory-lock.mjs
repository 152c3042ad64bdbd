// Fifty buyers, twenty pieces: each sale reads the stock and writes it back under a lock, and none is sold twice.
// Shows: config.lock, first come first served, with a bounded wait; fencing tokens that only grow.
// Run: JADE_URL=… JADE_API_KEY=… node docs/examples/inventory-lock.mjs   (LOCK=no shows what happens without the lock)
import { JadeClient } from "../../dist/client/index.js";

const { JADE_URL = "http://127.0.0.1:8787", JADE_API_KEY: apiKey } = process.env;
const buyers = 50;
const stock = 20;
const client = new JadeClient({ url: JADE_URL, apiKey });
const config = client.config.namespace("example-inventory");
const tokens = [];

/** Reads, decides, writes: without the lock two buyers would read the same number. */
async function sell() {
  const { value: left } = await config.get("stock/teapot");
  if (left === 0) return false;
  await config.put("stock/teapot", left - 1);
  return true;
}

async function buy() {
  if (process.env.LOCK === "no") return sell();
  const lock = await config.lock("locks/teapot", { leaseTtlSeconds: 10, waitSeconds: 60 });
  try {
    tokens.push(lock.fencingToken);
    return await sell();
  } finally {
    await lock.release();
  }
}

await config.put("stock/teapot", stock);
const bought = await Promise.all(Array.from({ length: buyers }, buy));
const sold = bought.filter(Boolean).length;
const { value: left } = await config.get("stock/teapot");
const tokensGrow = tokens.every((token, i) => i === 0 || token > tokens[i - 1]);
console.log(JSON.stringify({ buyers, stock, sold, left, oversold: sold - (stock - left), tokensGrow }));
client.close();
