// A crowd of watchers: one process with many connections of one watch each, which does as little as it can for each message, so that
// what is measured is the server. Messages as of watch-load.mjs; `take` answers {count, latenciesMs (a sample), lastMs}.
// Guarantees: every message is counted by its revision, and one that comes twice or out of order fails the run.

import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { ByteReader, ByteWriter } from "../../../src/wire/bytes.ts";
import { readWatchMessages, writeWatchRequest } from "../../../src/wire/config-watch.ts";
import { messageBytes } from "./session-load.mjs";

const KIND = { created: 1, events: 4, ping: 6 };
const BINARY = 2;
const OPENING_AT_ONCE = 64;
const SAMPLE = 20_000;
/** From one address: with more the kernel searches long for a free port. */
const CONNECTIONS_OF_ADDRESS = 4000;
const decoder = new TextDecoder();
const nowMs = () => performance.timeOrigin + performance.now();

let open = [];
let latencies = [];
let waiting;
let failure;
/** Revision → when its write began: read once, not by each connection. */
let stamps = new Map();

function fail(error) {
  failure ??= error;
  waiting?.reject(failure);
}

function stampOf(revision, payload) {
  let stamp = stamps.get(revision);
  if (stamp === undefined) {
    if (stamps.size > 10_000) stamps = new Map();
    const text = decoder.decode(readWatchMessages(payload)[0].events[0].kv.value.subarray(0, 32));
    stamp = Number(text.slice(text.startsWith('"') ? 1 : 0, text.indexOf(" ")));
    stamps.set(revision, stamp);
  }
  return stamp;
}

function taken(client, payload, atMs) {
  const kind = payload[0];
  if (kind !== KIND.events && kind !== KIND.ping) return client.onOther(payload);
  const reader = new ByteReader(payload.subarray(1));
  const revision = reader.varint();
  if (kind === KIND.ping) {
    reader.varint();
    const writer = new ByteWriter(16);
    writeWatchRequest(writer, { kind: "pong", mark: reader.varint() });
    return client.socket.write(messageBytes(BINARY, writer.take()));
  }
  if (client.revision !== 0 && revision <= client.revision)
    fail(new Error(`revision ${revision} came after ${client.revision}`));
  client.revision = revision;
  latencies.push(atMs - stampOf(revision, payload));
  if (waiting && latencies.length >= waiting.deliveries) waiting.done();
}

/** Whole frames in a chunk; what is left of it. */
function readFrames(client, chunk) {
  let bytes = client.rest ? Buffer.concat([client.rest, chunk]) : chunk;
  const atMs = nowMs();
  for (;;) {
    if (bytes.length < 2) break;
    const short = bytes[1] & 127;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length < head) break;
    const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    if (bytes.length < head + length) break;
    const payload = bytes.subarray(head, head + length);
    if ((bytes[0] & 15) === BINARY) taken(client, payload, atMs);
    bytes = bytes.subarray(head + length);
  }
  client.rest = bytes.length === 0 ? undefined : bytes;
}

function watch({ port, apiKey, key, localAddress }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", localAddress, noDelay: true });
    const client = { socket, rest: undefined, revision: 0, onOther: undefined };
    client.onOther = (payload) => {
      client.onOther = undefined;
      const [message] = readWatchMessages(payload);
      if (message.kind === "created") resolve(client);
      else reject(new Error(JSON.stringify(message)));
    };
    let head = Buffer.alloc(0);
    const onHead = (chunk) => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (!head.latin1Slice(0, 12).endsWith("101")) return reject(new Error(head.latin1Slice(0, 400)));
      socket.off("data", onHead);
      socket.on("data", (bytes) => readFrames(client, bytes));
      const writer = new ByteWriter(64);
      writeWatchRequest(writer, { kind: "create", watchId: 0, key, rangeEnd: "" });
      socket.write(messageBytes(BINARY, writer.take()));
      if (head.length > end + 4) readFrames(client, head.subarray(end + 4));
    };
    socket.on("data", onHead);
    socket.on("connect", () =>
      socket.write(
        `GET /v1/config/watch HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${apiKey}\r\nConnection: Upgrade\r\n` +
          `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n` +
          "Sec-WebSocket-Protocol: jade.watch.v1\r\n\r\n",
      ),
    );
    socket.on("error", reject);
    socket.on("close", () => {
      reject(new Error("the server closed a connection"));
      if (open.length > 0) fail(new Error("the server closed a connection"));
    });
  });
}

/** `network`: 127.0.<network>.* are the crowd's own addresses. */
async function openAll({ connections, network, ...options }) {
  let next = 0;
  const clients = [];
  const one = async () => {
    while (next < connections) {
      const localAddress = `127.0.${network}.${1 + Math.floor(next++ / CONNECTIONS_OF_ADDRESS)}`;
      clients.push(await watch({ ...options, key: "hot", localAddress }));
    }
  };
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, one));
  open = clients;
}

function take(deliveries) {
  return new Promise((resolve, reject) => {
    const done = () => {
      waiting = undefined;
      const all = latencies;
      latencies = [];
      const step = Math.max(1, Math.floor(all.length / SAMPLE));
      const lastMs = all.reduce((most, ms) => Math.max(most, ms), 0);
      resolve({ count: all.length, latenciesMs: all.filter((_, at) => at % step === 0), lastMs });
    };
    waiting = { deliveries, done, reject };
    if (failure) reject(failure);
    else if (latencies.length >= deliveries) done();
  });
}

process.on("message", async ({ id, open: opening, take: taking, close }) => {
  try {
    let result = {};
    if (opening) await openAll(opening);
    if (taking) result = await take(taking.deliveries);
    if (close) {
      const closing = open;
      open = [];
      for (const { socket } of closing) socket.destroy();
    }
    process.send({ id, result });
  } catch (error) {
    process.send({ id, error: String(error?.stack ?? error) });
  }
});
