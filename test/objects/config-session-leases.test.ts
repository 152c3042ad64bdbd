// Leases that sessions own, with real sockets, Coordinator and keyspace.

import { runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { ByteReader, ByteWriter } from "../../src/wire/bytes.ts";
import type { ConfigAnswer, ConfigFailure, ConfigRequest, LeaseAnswer } from "../../src/wire/config.ts";
import { readConfigAnswer } from "../../src/wire/config-answers.ts";
import { writeConfigCallBody } from "../../src/wire/config-requests.ts";
import { readAnswers, type SessionAnswer, writeRequest } from "../../src/wire/session.ts";
import { putOf } from "./config-support.ts";
import { newKey, newTenant } from "./gateway-support.ts";

type Answer = ConfigAnswer | ConfigFailure | Exclude<SessionAnswer, { kind: "config" }>;

interface OpenSession {
  readonly socket: WebSocket;
  /** `isOwned`: the lease that it grants or keeps alive is the session's. */
  ask(request: ConfigRequest, isOwned?: boolean): Promise<Answer>;
}

async function openSession(key: string): Promise<OpenSession> {
  const response = await exports.default.fetch("http://jade.test/v1/session", {
    headers: { upgrade: "websocket", authorization: `Bearer ${key}` },
  });
  const socket = response.webSocket!;
  socket.binaryType = "arraybuffer";
  const waiting = new Map<number, (answer: SessionAnswer) => void>();
  socket.addEventListener("message", ({ data }) => {
    for (const answer of readAnswers(new Uint8Array(data as ArrayBuffer))) waiting.get(answer.id)?.(answer);
  });
  socket.accept();
  let id = 0;
  return {
    socket,
    async ask(request, isOwned = false) {
      const body = new ByteWriter();
      writeConfigCallBody(body, { request });
      const writer = new ByteWriter();
      writeRequest(writer, { id: ++id, op: "config", key: "default", isOwned, value: body.take() });
      const answered = new Promise<SessionAnswer>((resolve) => waiting.set(id, resolve));
      socket.send(writer.take());
      const answer = await answered;
      return answer.kind === "config" ? readConfigAnswer(new ByteReader(answer.body)) : answer;
    },
  };
}

const isThere = async (session: OpenSession, lease: string): Promise<boolean> =>
  ((await session.ask({ kind: "leaseTimeToLive", lease })) as LeaseAnswer).ttlSeconds >= 0;
const isGone = (session: OpenSession, lease: string): Promise<void> =>
  vi.waitFor(async () => expect(await isThere(session, lease)).toBe(false), { timeout: 10_000, interval: 20 });
const keyOf = async (session: OpenSession, key: string) =>
  ((await session.ask({ kind: "range", key, rangeEnd: "" })) as { kvs: readonly unknown[] }).kvs.length;

async function grant(session: OpenSession, lease: string, isOwned = true): Promise<void> {
  expect(await session.ask({ kind: "leaseGrant", lease, ttlSeconds: 600 }, isOwned)).toMatchObject({ lease });
  await session.ask(putOf(`key-${lease}`, "v", { lease }));
}

describe("a session's leases", () => {
  it("[CF-200] end with it when it is closed as such; those of a session that was cut or ended otherwise stay", async () => {
    const { key } = await newTenant();
    const [watcher, cut, closed, leaving] = await Promise.all([1, 2, 3, 4].map(() => openSession(key)));
    await grant(cut!, "1");
    await grant(closed!, "2");
    await grant(closed!, "3", false);
    await grant(leaving!, "4");
    cut!.socket.close(3000, "not in order");
    closed!.socket.close(1000);
    leaving!.socket.close(1001);
    await isGone(watcher!, "2");
    await isGone(watcher!, "4");
    expect([await isThere(watcher!, "1"), await isThere(watcher!, "3")]).toEqual([true, true]);
    expect(await Promise.all(["1", "2", "3", "4"].map((lease) => keyOf(watcher!, `key-${lease}`)))).toEqual([
      1, 0, 1, 0,
    ]);
  });

  it("[CF-200] move with who keeps them alive; a revoked one is nobody's", async () => {
    const { key } = await newTenant();
    const [watcher, first, second] = await Promise.all([1, 2, 3].map(() => openSession(key)));
    await grant(first!, "1");
    await grant(first!, "2");
    await grant(first!, "3");
    await second!.ask({ kind: "leaseKeepAlive", lease: "1" }, true);
    await watcher!.ask({ kind: "leaseRevoke", lease: "3" });
    await grant(watcher!, "3", false);
    first!.socket.close(1000);
    await isGone(watcher!, "2");
    expect([await isThere(watcher!, "1"), await isThere(watcher!, "3")]).toEqual([true, true]);
    second!.socket.close(1000);
    await isGone(watcher!, "1");
  });

  it("[CF-200] no lease becomes a session's by looking at it: who may only read ends none", async () => {
    const { tenantId, key } = await newTenant();
    const writer = await openSession(key);
    const reader = await openSession(await newKey(tenantId, { scope: "read-only" }));
    await grant(writer, "1", false);
    expect(await reader.ask({ kind: "leaseTimeToLive", lease: "1" }, true)).toMatchObject({ lease: "1" });
    expect(await reader.ask({ kind: "leaseKeepAlive", lease: "1" }, true)).toMatchObject({ code: "forbidden" });
    const other = await openSession(key);
    await grant(other, "2");
    reader.socket.close(1000);
    other.socket.close(1000);
    await isGone(writer, "2");
    expect(await isThere(writer, "1")).toBe(true);
  });

  it("[CF-200][CF-10] a restart of the Coordinator leaves them their time, and the next session may take them over", async () => {
    const { key } = await newTenant();
    const before = await openSession(key);
    await grant(before, "1");
    await grant(before, "2");
    const coordinator = env.COORDINATOR.get(env.COORDINATOR.idFromName("z1"));
    await runInDurableObject(coordinator as unknown as DurableObjectStub, (_, state) =>
      state.abort("injected: restart"),
    ).catch(() => undefined);
    const after = await openSession(key);
    const watcher = await openSession(key);
    expect([await isThere(after, "1"), await isThere(after, "2")]).toEqual([true, true]);
    await after.ask({ kind: "leaseKeepAlive", lease: "2" }, true);
    after.socket.close(1000);
    await isGone(watcher, "2");
    expect(await isThere(watcher, "1")).toBe(true);
  });
});
