// What a front does not do itself goes to the server behind and back, byte for byte: clients need one address only.
import { Agent, type IncomingMessage, request as requestOf, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { refusalOf } from "./answers.ts";

const agent = new Agent({ keepAlive: true, maxSockets: 256 });

/** `more`: what stands behind a good answer's body. */
export function passRequestOn(
  url: string,
  request: IncomingMessage,
  response: ServerResponse,
  more?: () => string,
): void {
  const { hostname, port } = new URL(url);
  const { method, url: path, headers } = request;
  const passed = requestOf({ agent, hostname, port, method, path, headers }, (answer) => {
    const addsMore = more !== undefined && answer.statusCode === 200;
    const { "content-length": _, ...unmeasured } = answer.headers;
    response.writeHead(answer.statusCode ?? 502, addsMore ? unmeasured : answer.headers);
    answer.pipe(response, { end: !addsMore });
    if (addsMore) answer.once("end", () => response.end(more()));
    answer.on("error", () => response.destroy());
  });
  passed.on("error", () => {
    if (response.headersSent) return void response.destroy();
    const { status, body } = refusalOf(503, "unavailable", "the server behind the front does not answer");
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  // The client left.
  response.on("close", () => passed.destroy());
  request.pipe(passed);
}

/** An upgrade, and all that follows on its connection. */
export function passUpgradeOn(url: string, request: IncomingMessage, socket: Socket, head: Buffer): void {
  const { hostname, port } = new URL(url);
  const { method, url: path, rawHeaders } = request;
  const server = connect({ host: hostname, port: Number(port), noDelay: true });
  let text = `${method} ${path} HTTP/1.1\r\n`;
  for (let at = 0; at < rawHeaders.length; at += 2) text += `${rawHeaders[at]}: ${rawHeaders[at + 1]}\r\n`;
  server.write(`${text}\r\n`, "latin1");
  if (head.length > 0) server.write(head);
  socket.once("close", () => server.destroy());
  server.on("error", () => socket.destroy()).on("close", () => socket.destroySoon());
  server.pipe(socket).pipe(server);
}
