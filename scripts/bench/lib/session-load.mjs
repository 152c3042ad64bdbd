// Session load over plain sockets: the frames of src/wire/session.ts in WebSocket messages, without a WebSocket library.
// Like the SDK, all requests that become possible in one turn of a session go out in one message.

import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { ByteReader, ByteWriter } from "../../../src/wire/bytes.ts";
import { readConfigAnswer } from "../../../src/wire/config-answers.ts";
import { writeConfigCallBody } from "../../../src/wire/config-requests.ts";
import { ACK_EVERY_BYTES, readAnswers, writeRequest } from "../../../src/wire/session.ts";

const OPCODE = { binary: 2, close: 8, ping: 9, pong: 10 };
const encoder = new TextEncoder();
const ignore = () => undefined;

/** A masked message (clients must mask; a mask of zeros changes nothing). */
export function messageBytes(opcode, payload) {
  const length = payload.length;
  const extra = length < 126 ? 0 : length < 65536 ? 2 : 8;
  const bytes = Buffer.alloc(6 + extra + length);
  bytes[0] = 0x80 | opcode;
  bytes[1] = 0x80 | (extra === 0 ? length : extra === 2 ? 126 : 127);
  if (extra === 2) bytes.writeUInt16BE(length, 2);
  if (extra === 8) bytes.writeBigUInt64BE(BigInt(length), 2);
  bytes.set(payload, 6 + extra);
  return bytes;
}

/** Cuts a byte stream into messages. */
export class MessageReader {
  #buffer = Buffer.alloc(0);
  #fragments = [];

  /** Calls `onMessage(opcode, payload)` for every whole message. */
  push(chunk, onMessage) {
    let buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      if (buffer.length < 2) break;
      const short = buffer[1] & 127;
      const header = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (buffer.length < header) break;
      const length = short < 126 ? short : short === 126 ? buffer.readUInt16BE(2) : Number(buffer.readBigUInt64BE(2));
      if (buffer.length < header + length) break;
      const opcode = buffer[0] & 15;
      const payload = buffer.subarray(header, header + length);
      const isFinal = (buffer[0] & 128) !== 0;
      buffer = buffer.subarray(header + length);
      if (isFinal && this.#fragments.length === 0) onMessage(opcode, payload);
      else this.#collect(payload, isFinal, onMessage);
    }
    this.#buffer = buffer;
  }

  #collect(payload, isFinal, onMessage) {
    this.#fragments.push(Buffer.from(payload));
    if (!isFinal) return;
    const whole = Buffer.concat(this.#fragments);
    this.#fragments = [];
    onMessage(OPCODE.binary, whole);
  }
}

/** Opens one session, or another WebSocket of binary messages; gives {send(payload), close(), onMessage, onEnd}. */
export function openSession({ port, apiKey, path = "/v1/session", protocol }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const reader = new MessageReader();
    let upgraded = false;
    let head = Buffer.alloc(0);
    const session = {
      onMessage: ignore,
      onEnd: ignore,
      send: (payload) => socket.write(messageBytes(OPCODE.binary, payload)),
      close: () => {
        session.onEnd = ignore;
        socket.destroy();
      },
    };
    const deliver = (opcode, payload) => {
      if (opcode === OPCODE.binary) session.onMessage(payload);
      else if (opcode === OPCODE.ping) socket.write(messageBytes(OPCODE.pong, payload));
      else if (opcode === OPCODE.close) socket.end();
    };
    socket.on("connect", () => {
      const key = randomBytes(16).toString("base64");
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${apiKey}\r\nConnection: Upgrade\r\n` +
          `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n` +
          `${protocol ? `Sec-WebSocket-Protocol: ${protocol}\r\n` : ""}\r\n`,
      );
    });
    socket.on("data", (chunk) => {
      if (upgraded) return reader.push(chunk, deliver);
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return undefined;
      if (!head.latin1Slice(0, 12).endsWith("101")) return reject(new Error(`no session: ${head.latin1Slice(0, 500)}`));
      upgraded = true;
      resolve(session);
      if (head.length > end + 4) reader.push(head.subarray(end + 4), deliver);
      return undefined;
    });
    socket.on("error", reject);
    socket.on("close", () => session.onEnd());
  });
}

/** Puts and gets of the key-value store: writes a request, tells whether an answer is the right one. */
function keyValueRequests({ op, nextKey, value }) {
  const prefix = randomBytes(12);
  let writes = 0;
  return {
    write(writer, id) {
      let writeId;
      if (op === "put") {
        writeId = Buffer.alloc(16);
        writeId.set(prefix);
        writeId.writeUInt32LE(writes++, 12);
      }
      writeRequest(writer, { id, op, key: nextKey(), writeId, value: op === "put" ? value : undefined });
    },
    isGood: (answer) => answer.kind === (op === "put" ? "written" : "value"),
  };
}

/** The same of a configuration keyspace. */
function configRequests({ op, nextKey, value }) {
  const prefix = randomBytes(12);
  const body = new ByteWriter(1024);
  let writes = 0;
  return {
    write(writer, id) {
      body.reset();
      const key = nextKey();
      if (op === "config-put") {
        const writeId = Buffer.alloc(16);
        writeId.set(prefix);
        writeId.writeUInt32LE(writes++, 12);
        writeConfigCallBody(body, { writeId, request: { kind: "put", key, value } });
      } else writeConfigCallBody(body, { request: { kind: "range", key, rangeEnd: "" } });
      writeRequest(writer, { id, op: "config", key: "default", value: body.view() });
    },
    isGood(answer) {
      if (answer.kind !== "config") return false;
      const read = readConfigAnswer(new ByteReader(answer.body));
      return op === "config-put" ? read.kind === "put" : read.kind === "range" && read.kvs.length === 1;
    },
  };
}

/** Keeps `inFlight` requests of one session going; resolves when the recorder's time is over and the last answer is in. */
function driveSession({ session, inFlight, op, nextKey, value, recorder, limit }) {
  return new Promise((resolve, reject) => {
    const writer = new ByteWriter(64 * 1024);
    const beganMs = new Float64Array(inFlight);
    const requests = (op.startsWith("config-") ? configRequests : keyValueRequests)({ op, nextKey, value });
    let open = 0;
    let sent = 0;
    let received = 0;
    let acknowledged = 0;
    const add = (id, nowMs) => {
      requests.write(writer, id);
      beganMs[id] = nowMs;
      open++;
      sent++;
    };
    const mayGoOn = () => sent < limit && !recorder.isOver;
    session.onMessage = (payload) => {
      const nowMs = performance.now();
      const goOn = mayGoOn();
      received += payload.length;
      if (received - acknowledged >= ACK_EVERY_BYTES) {
        acknowledged = received;
        writeRequest(writer, { id: received % 2 ** 32, op: "ack", key: "" });
      }
      for (const answer of readAnswers(payload)) {
        open--;
        if (requests.isGood(answer)) recorder.done(beganMs[answer.id], nowMs);
        else recorder.failed(JSON.stringify(answer));
        if (goOn && sent < limit) add(answer.id, nowMs);
      }
      if (writer.length > 0) session.send(writer.take());
      writer.reset();
      if (open === 0) resolve();
    };
    session.onEnd = () => reject(new Error("the server closed a session"));
    const nowMs = performance.now();
    for (let id = 0; id < inFlight && sent < limit; id++) add(id, nowMs);
    session.send(writer.take());
    writer.reset();
  });
}

/** `limit`: operations in all (for preloading); default none. */
export async function sessionLoad({
  port,
  apiKey,
  sessions,
  inFlight,
  op,
  nextKey,
  valueText,
  recorder,
  limit = Infinity,
}) {
  const opened = await Promise.all(Array.from({ length: sessions }, () => openSession({ port, apiKey })));
  recorder = typeof recorder === "function" ? recorder() : recorder;
  const value = encoder.encode(valueText);
  const drive = (session) => driveSession({ session, inFlight, op, nextKey, value, recorder, limit: limit / sessions });
  await Promise.all(opened.map(drive));
  for (const session of opened) session.close();
  return recorder;
}
