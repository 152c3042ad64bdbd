import { connect } from "node:http2";
import { connect as connectTcp } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { GRPC } from "../../etcd/errors.ts";
import { type GrpcCall, GrpcServer } from "./grpc-server.ts";
import { ConnectionStart, mendAuthority } from "./mended-socket.ts";

/** `:authority` of "http://a" as Go's HPACK encoder writes it. */
const HTTP_A = Buffer.from("41869d29aee30c0f", "hex");

let server: GrpcServer | undefined;
afterEach(() => server?.stop());

async function startedServer(): Promise<number> {
  const echo = (call: GrpcCall) => ({
    onMessage(message: Uint8Array) {
      const frame = new Uint8Array(5 + message.length);
      frame.set(message, 5);
      call.send(frame);
      call.end();
    },
  });
  server = new GrpcServer({ host: "127.0.0.1", port: 0, methods: new Map([["/a.B/Echo", echo]]) });
  return server.listen();
}

describe("the mending of :authority", () => {
  it("[CF-65] two slashes become dashes, in as many bits; anything else stays", () => {
    const mended = Buffer.from(HTTP_A);
    mendAuthority(mended);
    expect(mended).not.toEqual(HTTP_A);
    expect(mended).toHaveLength(HTTP_A.length);
    expect(mended.subarray(0, 5)).toEqual(HTTP_A.subarray(0, 5));
    const other = Buffer.from("8286418cf1e3c2e5f23a6ba0ab90f4ff", "hex"); // RFC 7541 C.4.1: www.example.com
    const copy = Buffer.from(other);
    mendAuthority(copy);
    expect(copy).toEqual(other);
  });

  it("[CF-65] only the first HEADERS frame is touched, however the bytes are cut; what follows passes untouched", () => {
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    const frame = (type: number, payload: Buffer) =>
      Buffer.concat([Buffer.from([0, 0, payload.length, type, 0, 0, 0, 0, 1]), payload]);
    const ack = Buffer.from("000000040100000000", "hex");
    const [before, first] = [Buffer.concat([preface, frame(4, HTTP_A)]), frame(1, HTTP_A)];
    const behind = Buffer.concat([frame(0, HTTP_A), frame(1, HTTP_A)]);
    // With the acknowledgement of SETTINGS that are not HTTP/2's own, where it may come, and without.
    for (const sent of [
      [before, first, behind],
      [before, ack, first, behind],
      [before, first, behind, ack],
    ]) {
      const whole = Buffer.concat(sent);
      const expected = Buffer.concat([before, first, behind]);
      for (let step = 1; step <= whole.length; step++) {
        const start = new ConnectionStart();
        if (sent.includes(ack)) start.settingsSent();
        let passed: Buffer | undefined;
        for (let at = 0; at < whole.length; at += step) {
          const chunk = Buffer.from(whole.subarray(at, at + step));
          passed = passed ? Buffer.concat([passed, chunk]) : start.take(chunk);
        }
        expect(passed).toHaveLength(expected.length);
        const changed = [...expected.keys()].filter((at) => passed![at] !== expected[at]);
        expect(changed.length).toBeGreaterThan(0);
        for (const at of changed) expect(at - before.length - 9).toBeLessThan(HTTP_A.length);
        expect(Math.min(...changed)).toBeGreaterThanOrEqual(before.length + 9);
      }
    }
  });

  it("[CF-65] a client that waits for the server's settings gets them before its first request", async () => {
    const port = await startedServer();
    const session = connect(`http://127.0.0.1:${port}`);
    await new Promise<void>((resolve) => session.once("remoteSettings", () => resolve()));
    // A connection that only asks whether it is alive is answered, too.
    await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
    session.close();
  });
});

describe("the gRPC server", () => {
  function ask(port: number, path: string, body: Buffer, type = "application/grpc"): Promise<Record<string, unknown>> {
    const session = connect(`http://127.0.0.1:${port}`);
    return new Promise((resolve, reject) => {
      session.once("error", reject);
      const stream = session.request({ ":method": "POST", ":path": path, "content-type": type });
      const got: Record<string, unknown> = {};
      const chunks: Buffer[] = [];
      stream.on("response", (headers) => Object.assign(got, headers));
      stream.on("trailers", (headers) => Object.assign(got, headers));
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("close", () => {
        session.close();
        resolve({ ...got, body: Buffer.concat(chunks).toString("hex") });
      });
      stream.end(body);
    });
  }

  it("[CF-65] answers a message, and ends what it cannot take in a status", async () => {
    const port = await startedServer();
    const frame = Buffer.from("0000000003616263", "hex");
    expect(await ask(port, "/a.B/Echo", frame)).toMatchObject({ "grpc-status": "0", body: frame.toString("hex") });
    expect(await ask(port, "/a.B/Nothing", frame)).toMatchObject({ "grpc-status": String(GRPC.unimplemented) });
    const compressed = Buffer.from("0100000003616263", "hex");
    expect(await ask(port, "/a.B/Echo", compressed)).toMatchObject({ "grpc-status": String(GRPC.unimplemented) });
    const tooLong = Buffer.from("00ffffffff616263", "hex");
    expect(await ask(port, "/a.B/Echo", tooLong)).toMatchObject({ "grpc-status": String(GRPC.resourceExhausted) });
    const cut = Buffer.from("00000000036162", "hex");
    expect(await ask(port, "/a.B/Echo", cut)).toMatchObject({ "grpc-status": String(GRPC.internal) });
    expect(await ask(port, "/a.B/Echo", frame, "text/plain")).toMatchObject({ ":status": 415 });
  });

  it("[CF-63] bytes that are no HTTP/2 end their connection and nothing else", async () => {
    const port = await startedServer();
    for (const noise of [
      "GET / HTTP/1.1\r\n\r\n",
      "\0".repeat(100),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ]) {
      await new Promise<void>((resolve) => {
        const socket = connectTcp(port, "127.0.0.1", () => socket.end(Buffer.from(noise, "latin1")));
        socket.on("error", () => undefined);
        socket.once("close", () => resolve());
        socket.resume();
      });
    }
    const frame = Buffer.from("0000000000", "hex");
    expect(await ask(port, "/a.B/Echo", frame)).toMatchObject({ "grpc-status": "0" });
  });
});
