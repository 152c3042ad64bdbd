// Watchers: a process of its own that holds the connections, and tells when what was written reached each of its watches.
// Messages: {id, open: {port, apiKey, connections, watchesEach, keyOf}} -> {}; {id, take: {deliveries}} -> {latenciesMs, tookMs}: waits until so many
// events came since the last take. Values begin with the writer's clock (ms since the epoch, with fractions) and a space.

import { ByteWriter } from "../../../src/wire/bytes.ts";
import { writeWatchRequest } from "../../../src/wire/config-watch.ts";
import { WatchStream } from "../../../src/wire/config-watch-stream.ts";
import { openSession } from "./session-load.mjs";

const OPENING_AT_ONCE = 50;
const decoder = new TextDecoder();
const nowMs = () => performance.timeOrigin + performance.now();

let latenciesMs = [];
let waiting;
let open = [];

function delivered(watchIds, events) {
  const atMs = nowMs();
  for (const { kv } of events) {
    const text = decoder.decode(kv.value.subarray(0, 32));
    const tookMs = atMs - Number(text.slice(0, text.indexOf(" ")));
    for (let count = watchIds.length; count > 0; count--) latenciesMs.push(tookMs);
  }
  if (waiting && latenciesMs.length >= waiting.deliveries) waiting.done();
}

/** One connection with its watches; resolves when all of them are created. */
async function watch({ port, apiKey, watchesEach, keyOf, connection }) {
  const session = await openSession({ port, apiKey, path: "/v1/config/watch", protocol: "jade.watch.v1" });
  const writer = new ByteWriter();
  for (let id = 0; id < watchesEach; id++) {
    const key = keyOf === "one" ? "hot" : `k/${connection * watchesEach + id}`;
    writeWatchRequest(writer, { kind: "create", watchId: id, key, rangeEnd: "", fragment: true });
  }
  await new Promise((resolve, reject) => {
    let created = 0;
    const stream = new WatchStream({
      send: session.send,
      onMessage: (message) => {
        if (message.kind === "events") delivered(message.watchIds, message.events);
        else if (message.kind !== "created") reject(new Error(JSON.stringify(message)));
        else if (++created === watchesEach) resolve();
      },
    });
    session.onMessage = (payload) => stream.receive(payload);
    session.onEnd = () => reject(new Error("the server closed a connection"));
    session.send(writer.take());
  });
  return session;
}

async function openAll({ connections, first = 0, ...options }) {
  let next = 0;
  const one = async () => {
    while (next < connections) {
      const connection = first + next++;
      open.push(await watch({ ...options, connection }));
    }
  };
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, one));
}

function take(deliveries) {
  return new Promise((resolve) => {
    const done = () => {
      waiting = undefined;
      const taken = latenciesMs;
      latenciesMs = [];
      resolve({ latenciesMs: taken });
    };
    waiting = { deliveries, done };
    if (latenciesMs.length >= deliveries) done();
  });
}

process.on("message", async ({ id, open: opening, take: taking, close }) => {
  try {
    let result = {};
    if (opening) await openAll(opening);
    if (taking) result = await take(taking.deliveries);
    if (close) {
      for (const session of open) session.close();
      open = [];
      latenciesMs = [];
    }
    process.send({ id, result });
  } catch (error) {
    process.send({ id, error: String(error?.stack ?? error) });
  }
});
