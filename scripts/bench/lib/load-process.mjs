// The load generator: a process of its own that runs one phase a message and answers with what it measured.
// Phase: {transport: "raw"|"hop"|"http"|"session"|"sdk"|"redis", op, port, apiKey, connections, inFlight, batchSize?, keys, valueBytes, seconds, warmupSeconds}

import { etcdLoad } from "./etcd-load.mjs";
import { httpLoad, requestBytes } from "./http-load.mjs";
import { keyChooser, seededRandom, valueText } from "./keys.mjs";
import { Recorder } from "./measure.mjs";
import { redisLoad } from "./redis-load.mjs";
import { sdkLoad } from "./sdk-load.mjs";
import { sessionLoad } from "./session-load.mjs";

/** Gives a function () → bytes of the next request. */
function httpRequests(phase, nextKey, value) {
  const { transport, op, port, apiKey, batchSize } = phase;
  const host = `127.0.0.1:${port}`;
  if (transport === "hop") return () => requestBytes({ method: "GET", path: "/hop", host });
  if (transport === "raw") return () => requestBytes({ method: "PUT", path: `/${nextKey()}`, host, body: value });
  if (op === "get") return () => requestBytes({ method: "GET", path: `/v1/key-value?key=${nextKey()}`, host, apiKey });
  if (op === "put") {
    return () =>
      requestBytes({
        method: "POST",
        path: "/v1/key-value",
        host,
        apiKey,
        body: `{"key":"${nextKey()}","value":${value}}`,
      });
  }
  return () => {
    const operations = Array.from({ length: batchSize }, () => `{"op":"put","key":"${nextKey()}","value":${value}}`);
    return requestBytes({
      method: "POST",
      path: "/v1/key-value/batch",
      host,
      apiKey,
      body: `{"operations":[${operations}]}`,
    });
  };
}

async function runPhase(phase) {
  const { transport, op, port, apiKey, connections, inFlight } = phase;
  const value = valueText(phase.valueBytes, seededRandom(7));
  const nextKey = keyChooser({ ...phase.keys, op: op === "get" ? "get" : "put" });
  const recorder = () => new Recorder(phase);
  if (transport === "session") {
    const load = { port, apiKey, sessions: connections, inFlight, op, nextKey, valueText: value, recorder };
    return (await sessionLoad(load)).result();
  }
  if (transport === "sdk") return (await sdkLoad({ port, apiKey, inFlight, op, nextKey, value, recorder })).result();
  if (transport === "etcd") {
    return (await etcdLoad({ port, connections, inFlight, op, nextKey, value, recorder })).result();
  }
  if (transport === "redis") {
    return (await redisLoad({ port, connections, inFlight, op, nextKey, value, recorder })).result();
  }
  const timing = recorder();
  const minBodyBytes = op === "get" && transport === "http" ? phase.valueBytes : 0;
  await httpLoad({ port, connections, next: httpRequests(phase, nextKey, value), recorder: timing, minBodyBytes });
  return timing.result(op === "batch" ? phase.batchSize : 1);
}

/** Writes `count` keys `<prefix><i>` once each, at full speed. */
async function preload({ port, apiKey, prefix, count, valueBytes, op = "put" }) {
  let index = 0;
  const load = {
    port,
    apiKey,
    sessions: 1,
    inFlight: 256,
    op,
    nextKey: () => `${prefix}${index++}`,
    valueText: valueText(valueBytes, seededRandom(7)),
    recorder: () => new Recorder({ warmupSeconds: 0, seconds: 3600 }),
    limit: count,
  };
  return (await sessionLoad(load)).result();
}

process.on("message", async ({ id, preload: preloading, phase }) => {
  const began = process.cpuUsage();
  const beganMs = performance.now();
  try {
    const result = preloading ? await preload(preloading) : await runPhase(phase);
    const { user, system } = process.cpuUsage(began);
    process.send({ id, result: { ...result, clientCpu: (user + system) / 1000 / (performance.now() - beganMs) } });
  } catch (error) {
    process.send({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
});
