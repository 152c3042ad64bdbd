// Two ends of a tunnel around a server on a unix socket.
import { mkdtempSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { acceptPeers, parseHostPort, peerKey, reachPeer, type TunnelEnd } from "./tunnel.ts";

const key = peerKey("k".repeat(32));
const ends: (TunnelEnd | Server)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) "stop" in end ? end.stop() : end.close();
});

const directory = mkdtempSync(join(tmpdir(), "jade-tunnel-"));
let count = 0;
const socketPath = (): string => join(directory, `${count++}.sock`);

/** A relay that answers each piece by itself in capitals, or never. */
async function relay(path: string, answers = true): Promise<() => number> {
  let heard = 0;
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (data) => {
      heard += data.length;
      if (answers) socket.write(data.toString().toUpperCase());
    });
  });
  ends.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return () => heard;
}

/** What comes back, up to `bytes`; what came before the end, when it ends. */
function exchange(path: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    let got = "";
    const socket: Socket = createConnection({ path }, () => void socket.write(text));
    socket.on("data", (data) => {
      got += data.toString();
      if (got.length >= text.length) socket.destroy();
    });
    socket.on("error", () => undefined).on("close", () => resolve(got));
  });
}

it("[CL-15] carries bytes both ways between instances that know the cluster's key, many connections at once", async () => {
  const [behind, offered] = [socketPath(), socketPath()];
  await relay(behind);
  const accepting = await acceptPeers({ host: "127.0.0.1", port: 0 }, { path: behind, key });
  const reaching = await reachPeer({ host: "127.0.0.1", port: accepting.port }, { path: offered, key });
  ends.push(accepting, reaching);
  const texts = Array.from({ length: 20 }, (_, n) => `${n} `.repeat(20_000));
  expect(await Promise.all(texts.map((text) => exchange(offered, text)))).toEqual(texts);
  expect(await exchange(offered, "hello")).toBe("HELLO");
});

it("[CL-15] refuses who does not know the key, before a byte reaches the relay", async () => {
  const [behind, offered] = [socketPath(), socketPath()];
  const heard = await relay(behind);
  const accepting = await acceptPeers({ host: "127.0.0.1", port: 0 }, { path: behind, key });
  const to = { host: "127.0.0.1", port: accepting.port };
  ends.push(accepting, await reachPeer(to, { path: offered, key: peerKey("another key".repeat(3)) }));
  expect(await exchange(offered, "let me in")).toBe("");
  const plain = await new Promise<string>((resolve) => {
    const socket = createConnection(to, () => void socket.write("GET / HTTP/1.1\r\n\r\n"));
    let got = "";
    socket.on("data", (data) => (got += data.toString("latin1")));
    socket.on("error", () => undefined).on("close", () => resolve(got));
  });
  expect(plain).not.toContain("HTTP");
  expect(heard()).toBe(0);
});

it("[CL-15] ends a connection whose other end has gone silent or away, and makes the next one anew", async () => {
  const [behind, offered] = [socketPath(), socketPath()];
  await relay(behind, false);
  const accepting = await acceptPeers({ host: "127.0.0.1", port: 0 }, { path: behind, key });
  const { port } = accepting;
  ends.push(await reachPeer({ host: "127.0.0.1", port }, { path: offered, key, silenceMs: 90 }));
  expect(await exchange(offered, "anybody there?")).toBe("");
  accepting.stop();
  expect(await exchange(offered, "gone")).toBe("");
  const again = socketPath();
  await relay(again);
  ends.push(await acceptPeers({ host: "127.0.0.1", port }, { path: again, key }));
  expect(await exchange(offered, "back")).toBe("BACK");
});

it("[CL-15] reads addresses of peers", () => {
  expect(parseHostPort("10.0.0.1:7000")).toEqual({ host: "10.0.0.1", port: 7000 });
  expect(parseHostPort("[fd00::1]:7000")).toEqual({ host: "fd00::1", port: 7000 });
  expect(parseHostPort("db-1.internal:1")).toEqual({ host: "db-1.internal", port: 1 });
  for (const wrong of ["", "10.0.0.1", "fd00::1:7000", "host:99999", "unix:/path", "a b:1"])
    expect(parseHostPort(wrong), wrong).toBeUndefined();
});

it("[CL-90] one port carries each service to its own socket, by a key of its own", async () => {
  const [peers, gossip] = [socketPath(), socketPath()];
  const [heardPeers, heardGossip] = [await relay(peers), await relay(gossip)];
  const gossipKey = peerKey("k".repeat(32), "gossip");
  const accepting = await acceptPeers(
    { host: "127.0.0.1", port: 0 },
    { path: peers, key },
    { path: gossip, key: gossipKey, service: "gossip" },
  );
  ends.push(accepting);
  const reach = async (service: "gossip" | "leaders", withKey: Buffer): Promise<string> => {
    const path = socketPath();
    ends.push(await reachPeer({ host: "127.0.0.1", port: accepting.port }, { path, key: withKey, service }));
    return exchange(path, "hello");
  };
  expect(await reach("gossip", gossipKey)).toBe("HELLO");
  expect([heardPeers(), heardGossip()]).toEqual([0, 5]);
  expect(await reach("gossip", key)).toBe("");
  expect(await reach("leaders", peerKey("k".repeat(32), "leaders"))).toBe("");
  expect([heardPeers(), heardGossip()]).toEqual([0, 5]);
});
