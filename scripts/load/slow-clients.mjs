// Clients that read nothing, send half a request, or send a byte at a time must cost a well-behaved client little and memory less.

import { connect } from "node:net";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { writeRequest } from "../../src/wire/session.ts";
import { seededRandom, valueText } from "../bench/lib/keys.mjs";
import { openSession, sessionLoad } from "../bench/lib/session-load.mjs";
import { atLeast, atMost, recorder, shown, tenantKey, watchMemory } from "./lib/tools.mjs";

const UNREAD_SESSIONS = 20;
const HALF_REQUESTS = 200;
const DRIP_REQUESTS = 50;
const BIG_BYTES = 200_000;
/** What a session gets without acknowledging: 64 reads before it is known how large they are, then the window of 4 MiB. */
const UNREAD_MIB = 20;
/** Asked of each unread session. */
const UNREAD_GETS = 600;
const MEMORY_GROWTH_MIB = 2500;

/** A connection that never fails the run: the server may close it whenever it likes. */
function rawConnection(port) {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const state = { socket, closed: false, text: "" };
  socket.on("error", () => undefined);
  socket.on("close", () => {
    state.closed = true;
  });
  socket.on("data", (chunk) => {
    state.text += chunk.latin1Slice(0, 500);
  });
  return state;
}

function halfRequest(port, apiKey) {
  const state = rawConnection(port);
  state.socket.write(
    `POST /v1/key-value HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${apiKey}\r\nContent-Type: application/json\r\n` +
      `Content-Length: 1000\r\n\r\n{"key":"half`,
  );
  return state;
}

function drip(port, apiKey) {
  const state = rawConnection(port);
  const body = '{"key":"drip","value":1}';
  state.socket.write(
    `POST /v1/key-value HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${apiKey}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${body.length}\r\n\r\n`,
  );
  let at = 0;
  const timer = setInterval(() => {
    if (state.closed || at === body.length) clearInterval(timer);
    else state.socket.write(body[at++]);
  }, 100);
  return state;
}

async function unreadSession(port, apiKey) {
  const session = await openSession({ port, apiKey });
  const state = { session, bytes: 0 };
  session.onMessage = (payload) => {
    state.bytes += payload.length;
  };
  // Reads what comes, acknowledges nothing: to the server that is a client which has read nothing.
  const writer = new ByteWriter(64 * 1024);
  for (let id = 0; id < UNREAD_GETS; id++) writeRequest(writer, { id, op: "get", key: "big" });
  session.send(writer.take());
  return state;
}

export async function slowClients({ server, seconds, note }) {
  const apiKey = await tenantKey(server);
  const { port } = server;
  const random = seededRandom(5);
  const put = { port, apiKey, sessions: 1, inFlight: 1, op: "put" };
  await sessionLoad({
    ...put,
    nextKey: () => "big",
    valueText: valueText(BIG_BYTES, random),
    recorder: recorder(60),
    limit: 1,
  });
  const good = {
    ...put,
    sessions: 4,
    inFlight: 8,
    nextKey: () => `k-${Math.floor(random() * 5000)}`,
    valueText: valueText(500, random),
  };
  const alone = (await sessionLoad({ ...good, recorder: recorder(seconds, 1) })).result();
  note(`alone: ${Math.round(alone.perSecond)} puts/s, p99 ${alone.p99Ms.toFixed(1)} ms`);

  const memory = watchMemory(server);
  const beforeMiB = memory.nowMiB();
  const halves = Array.from({ length: HALF_REQUESTS }, () => halfRequest(port, apiKey));
  const drips = Array.from({ length: DRIP_REQUESTS }, () => drip(port, apiKey));
  const stalled = Array.from({ length: HALF_REQUESTS }, () => rawConnection(port));
  const unread = await Promise.all(Array.from({ length: UNREAD_SESSIONS }, () => unreadSession(port, apiKey)));
  const among = (await sessionLoad({ ...good, recorder: recorder(Math.max(seconds, 5), 1) })).result();
  note(`among slow clients: ${Math.round(among.perSecond)} puts/s, p99 ${among.p99Ms.toFixed(1)} ms`);
  const dripped = drips.filter(({ text }) => text.startsWith("HTTP/1.1 200")).length;
  const mostBytes = Math.max(...unread.map(({ bytes }) => bytes));
  for (const { socket } of [...halves, ...stalled, ...drips]) socket.destroy();
  for (const { session } of unread) session.close();
  const after = (await sessionLoad({ ...good, recorder: recorder(seconds, 1) })).result();
  memory.stop();
  return [
    shown("puts per second alone", Math.round(alone.perSecond)),
    atMost("errors of the good client", alone.errors + among.errors + after.errors, 0),
    atLeast("its throughput among slow clients / alone", Number((among.perSecond / alone.perSecond).toFixed(2)), 0.4),
    atLeast("its throughput afterwards / before", Number((after.perSecond / alone.perSecond).toFixed(2)), 0.8),
    atMost(
      `MiB sent to a session that asked for ${Math.round((UNREAD_GETS * BIG_BYTES) / 2 ** 20)} and acknowledges nothing`,
      Math.round(mostBytes / 2 ** 20),
      UNREAD_MIB,
    ),
    atLeast(`requests of a byte a time that were answered, of ${DRIP_REQUESTS}`, dripped, DRIP_REQUESTS),
    atMost("memory grown at most by, MiB", memory.peakMiB() - beforeMiB, MEMORY_GROWTH_MIB),
  ];
}
