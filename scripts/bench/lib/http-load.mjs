// HTTP/1.1 load over plain sockets: N connections, keep-alive, one request in flight on each, no pipelining.
// Node's own clients spend more time than the server does; this one writes and reads the bytes themselves.

import { connect } from "node:net";

const HEADER_END = Buffer.from("\r\n\r\n");
const CHUNKED_END = Buffer.from("0\r\n\r\n");

/** Length of the first whole response in `buffer`, 0 when it is not whole yet. */
export function responseLength(buffer) {
  const headerEnd = buffer.indexOf(HEADER_END);
  if (headerEnd < 0) return 0;
  const header = buffer.latin1Slice(0, headerEnd).toLowerCase();
  const match = /\r\ncontent-length: *(\d+)/.exec(header);
  if (match) {
    const length = headerEnd + 4 + Number(match[1]);
    return buffer.length >= length ? length : 0;
  }
  if (!header.includes("\r\ntransfer-encoding: chunked")) throw new Error(`no length in ${header}`);
  const end = buffer.indexOf(CHUNKED_END, headerEnd + 2);
  return end < 0 ? 0 : end + CHUNKED_END.length;
}

/** The bytes of one request. */
export function requestBytes({ method, path, host, apiKey, body }) {
  let text = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n`;
  if (apiKey) text += `Authorization: Bearer ${apiKey}\r\n`;
  if (body !== undefined) text += `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
  return Buffer.from(`${text}\r\n${body ?? ""}`, "latin1");
}

/** One connection that sends what `next()` gives until the recorder's time is over. */
function runConnection({ port, next, recorder, minBodyBytes }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let pending = null;
    let beganMs = 0;
    const send = () => {
      if (recorder.isOver) {
        socket.end();
        resolve();
        return;
      }
      beganMs = performance.now();
      socket.write(next());
    };
    socket.on("connect", send);
    socket.on("data", (chunk) => {
      const buffer = pending ? Buffer.concat([pending, chunk]) : chunk;
      const length = responseLength(buffer);
      if (length === 0) {
        pending = buffer;
        return;
      }
      pending = null;
      if (buffer[9] !== 50 || length < minBodyBytes) recorder.failed(buffer.latin1Slice(0, length));
      else recorder.done(beganMs, performance.now());
      send();
    });
    socket.on("error", reject);
    socket.on("close", () => (recorder.isOver ? resolve() : reject(new Error("the server closed a connection"))));
  });
}

export async function httpLoad({ port, connections, next, recorder, minBodyBytes = 0 }) {
  await Promise.all(Array.from({ length: connections }, () => runConnection({ port, next, recorder, minBodyBytes })));
}
