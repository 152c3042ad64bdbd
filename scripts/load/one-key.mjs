// Everything on one key: overwritten by all clients at once, and driven to its greatest number of siblings.

import { JadeClient } from "../../src/client/index.ts";
import { seededRandom, valueText } from "../bench/lib/keys.mjs";
import { sessionLoad } from "../bench/lib/session-load.mjs";
import { metricsOf, sumOf } from "../lib/metrics.mjs";
import { atLeast, atMost, recorder, shown, tenantKey } from "./lib/tools.mjs";

const MAX_SIBLINGS = 32;

async function get(server, apiKey, key) {
  const response = await fetch(`${server.url}/v1/key-value?key=${key}`, {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  return { ...(await response.json()), httpStatus: response.status };
}

async function put(server, apiKey, body) {
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const response = await fetch(`${server.url}/v1/key-value`, { method: "POST", headers, body: JSON.stringify(body) });
  return { ...(await response.json()), httpStatus: response.status };
}

/** 64 sessions overwrite one key without a clock; then the same load over many keys. */
export async function hotKey({ server, seconds, note }) {
  const apiKey = await tenantKey(server);
  const random = seededRandom(5);
  const load = { port: server.port, apiKey, sessions: 64, inFlight: 8, op: "put", valueText: valueText(500, random) };
  const spread = (
    await sessionLoad({ ...load, nextKey: () => `k-${Math.floor(random() * 20_000)}`, recorder: recorder(seconds, 1) })
  ).result();
  const before = await metricsOf(server.url);
  const hot = (await sessionLoad({ ...load, nextKey: () => "hot", recorder: recorder(seconds, 1) })).result();
  const after = await metricsOf(server.url);
  note(`spread ${Math.round(spread.perSecond)}/s, hot ${Math.round(hot.perSecond)}/s; first error: ${hot.firstError}`);
  const last = await get(server, apiKey, "hot");
  const repairs = sumOf(after, "jade_kv_read_repairs_total") - sumOf(before, "jade_kv_read_repairs_total");
  return [
    shown("puts per second over 20 000 keys", Math.round(spread.perSecond)),
    atLeast("one key / spread", Number((hot.perSecond / spread.perSecond).toFixed(2)), 0.2),
    atMost("errors", hot.errors, 0),
    atMost("siblings left (blind writes supersede what they see)", last.data.siblings?.length ?? 1, MAX_SIBLINGS),
    shown("read repairs meanwhile", repairs),
  ];
}

/** Writers that have seen nothing make siblings until the bound; one that has seen them all ends it. */
export async function siblingStorm({ server, note }) {
  const apiKey = await tenantKey(server);
  const client = new JadeClient({ url: server.url, apiKey });
  const first = await put(server, apiKey, { key: "s", value: 0 });
  let stored = 0;
  let refused = 0;
  let other = 0;
  let firstOther;
  let refusal;
  const storm = Array.from({ length: 400 }, async (_, index) => {
    const answer = await put(server, apiKey, { key: "s", value: index, vectorClock: {} });
    if (answer.httpStatus === 200) stored++;
    else if (answer.httpStatus === 409) {
      refused++;
      refusal ??= answer;
    } else {
      other++;
      firstOther ??= JSON.stringify(answer).slice(0, 300);
    }
  });
  await Promise.all(storm);
  if (firstOther) note(`first other answer: ${firstOther}`);
  const conflicted = await get(server, apiKey, "s");
  const resolved = await put(server, apiKey, { key: "s", value: "one", vectorClock: conflicted.data.vectorClock });
  const after = await get(server, apiKey, "s");
  client.close();
  return [
    shown("writes that made a sibling", stored),
    atLeast("writes refused at the bound (409)", refused, 1),
    atMost("other answers", other, 0),
    atMost("siblings", conflicted.data.siblings?.length ?? 0, MAX_SIBLINGS),
    atLeast("the refusal names the clock to write with", refusal?.details?.vectorClock ? 1 : 0, 1),
    atMost("status of the write that has seen them all", resolved.httpStatus, 200),
    atMost("siblings afterwards", after.data.siblings?.length ?? 1, 1),
    atLeast("first write was stored", first.httpStatus === 200 ? 1 : 0, 1),
  ];
}
