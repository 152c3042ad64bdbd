// What no server can be faster than: one process that writes the same bytes to every socket it holds, and does nothing else. Speaks just
// so much of the watch protocol that crowd-load.mjs can open. Messages: {listen: port} once, {tell: bytes of a value} for each change.
import { createServer } from "node:net";
import { FRAMES } from "../../../src/server/watch/frames.ts";
import { acceptOf, messageFrame, OPCODE } from "../../../src/server/watch/websocket.ts";
import { ByteWriter } from "../../../src/wire/bytes.ts";
import { writeConfigEvent } from "../../../src/wire/config-answers.ts";
import { writeEventsHead } from "../../../src/wire/config-watch.ts";

const HEADER = { revision: 1, term: 1 };
const CREATED = FRAMES.binary.message({ kind: "created", header: HEADER, watchId: 0 });
const sockets = new Set();
let revision = 1;

function change(valueBytes) {
  const text = `${(performance.timeOrigin + performance.now()).toFixed(3)} `.padEnd(valueBytes, "x");
  const writer = new ByteWriter();
  revision++;
  const header = { ...HEADER, revision };
  writeEventsHead(writer, { header, watchIds: [0], fragment: false, eventCount: 1 });
  const kv = { key: "hot", createRevision: 1, modRevision: revision, version: revision, lease: "" };
  writeConfigEvent(writer, { type: "put", kv: { ...kv, value: new TextEncoder().encode(text) } });
  return messageFrame(OPCODE.binary, writer.take());
}

function welcome(socket) {
  socket.setNoDelay(true);
  socket.once("data", (head) => {
    const key = /Sec-WebSocket-Key: (\S+)/i.exec(head.latin1Slice())[1];
    socket.once("data", () => {
      sockets.add(socket);
      socket.write(CREATED);
    });
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n` +
        "Sec-WebSocket-Protocol: jade.watch.v1\r\n\r\n",
    );
  });
  socket.on("error", () => sockets.delete(socket)).on("close", () => sockets.delete(socket));
}

process.on("message", ({ id, listen, tell }) => {
  if (listen === undefined) {
    const frame = change(tell);
    for (const socket of sockets) socket.write(frame);
    process.send({ id, result: {} });
    return;
  }
  const server = createServer(welcome);
  server.listen({ port: listen, host: "127.0.0.1", backlog: 4096 }, () =>
    process.send({ id, result: { port: server.address().port } }),
  );
});
