// A configuration keyspace as an object: frames by RPC, one commit a turn, alarms, restarts, locks; and calls over sessions.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { ByteReader, ByteWriter } from "../../src/wire/bytes.ts";
import type { AcquireAnswer, ConfigFailure, ConfigRequest, RangeAnswer } from "../../src/wire/config.ts";
import { readConfigAnswer } from "../../src/wire/config-answers.ts";
import { prefixRange } from "../../src/wire/config-keys.ts";
import { writeConfigCallBody } from "../../src/wire/config-requests.ts";
import { readAnswers, type SessionAnswer, writeRequest } from "../../src/wire/session.ts";
import { call, callAll, keyspace, newKeyspaceName, putOf } from "./config-support.ts";
import { newKey, newTenant } from "./gateway-support.ts";

const all: ConfigRequest = { kind: "range", ...prefixRange("") };
const keysOf = (answer: unknown): readonly string[] => (answer as RangeAnswer).kvs.map(({ key }) => key);

describe("a keyspace", () => {
  it("[CF-1] calls of one turn run in order, each with its revision, in one commit", async () => {
    const stub = keyspace(newKeyspaceName());
    const frames = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        callAll(stub, [{ request: putOf(`k${i}`) }, { request: putOf(`k${i}`, "w") }]),
      ),
    );
    const revisions = frames.flat().map((answer) => (answer.kind === "error" ? 0 : answer.header.revision));
    expect(revisions).toEqual(Array.from({ length: 100 }, (_, i) => i + 2));
    expect((await stub.metrics())["jade_config_commits_total"]).toBeLessThan(20);
  });

  it("[CF-10][CF-13] what was answered is there after the object started anew, under a higher term", async () => {
    const name = newKeyspaceName();
    const before = await call(keyspace(name), putOf("a", "1"));
    await evictDurableObject(keyspace(name));
    const after = await call(keyspace(name), all);
    expect(keysOf(after)).toEqual(["a"]);
    if (before.kind === "error" || after.kind === "error") throw new Error("refused");
    expect(after.header).toEqual({ revision: 2, term: before.header.term + 1 });
  });

  it("[CF-20][CF-21] a lease ends by alarm, when nobody is connected, after a restart too", async () => {
    const name = newKeyspaceName();
    await callAll(keyspace(name), [
      { request: { kind: "leaseGrant", lease: "5", ttlSeconds: 2 } },
      { request: putOf("held", "v", { lease: "5" }) },
      { request: putOf("free") },
    ]);
    const grantedMs = Date.now();
    await evictDurableObject(keyspace(name));
    await vi.waitFor(async () => expect(keysOf(await call(keyspace(name), all))).toEqual(["free"]), {
      timeout: 8000,
      interval: 50,
    });
    const tookMs = Date.now() - grantedMs;
    expect(tookMs).toBeGreaterThan(1900);
    expect(tookMs).toBeLessThan(4000);
  });

  it("[CF-12] compaction goes on by itself in slices until all is removed", async () => {
    const name = newKeyspaceName();
    const stub = keyspace(name);
    for (let round = 0; round < 4; round++) {
      await callAll(
        stub,
        Array.from({ length: 400 }, (_, i) => ({ request: putOf(`k${i % 10}`, String(round)) })),
      );
    }
    await call(stub, { kind: "compact", revision: 1601 });
    const count = (table: string): Promise<number> =>
      runInDurableObject(stub, (_, state) =>
        Number(state.storage.sql.exec(`SELECT count(*) AS n FROM ${table}`).one()["n"]),
      );
    await vi.waitFor(async () => expect([await count("config_ended"), await count("config_log")]).toEqual([0, 10]), {
      timeout: 5000,
      interval: 50,
    });
  });

  it("[CF-11] a damaged record is an error of the read that meets it, and of no other", async () => {
    const name = newKeyspaceName();
    await callAll(keyspace(name), [{ request: putOf("a") }, { request: putOf("b") }]);
    await runInDurableObject(keyspace(name), (_, state) => {
      state.storage.sql.exec(
        "UPDATE config_log SET record = CAST(substr(record, 1, length(record) - 1) || x'7f' AS BLOB) WHERE seq = 1",
      );
    });
    await evictDurableObject(keyspace(name));
    const answers = await callAll(keyspace(name), [
      { request: { kind: "range", key: "a", rangeEnd: "" } },
      { request: { kind: "range", key: "b", rangeEnd: "" } },
    ]);
    expect(answers[0]).toMatchObject({ kind: "error", code: "dataCorrupt" });
    expect(keysOf(answers[1])).toEqual(["b"]);
  });

  it("[CF-100][CF-102][CF-103] a lock passes on when it is released, and a wait ends by its time", async () => {
    const stub = keyspace(newKeyspaceName());
    for (const lease of ["1", "2", "3"]) await call(stub, { kind: "leaseGrant", lease, ttlSeconds: 60 });
    const ask = async (lease: string, waitMs: number) =>
      (await stub.acquire({ name: "job", lease, value: new Uint8Array(0), waitMs })) as AcquireAnswer | ConfigFailure;
    const first = await ask("1", 0);
    const next = ask("2", 10_000);
    expect(await ask("3", 100)).toMatchObject({ kind: "error", code: "lockNotAcquired" });
    expect(await stub.ownership("job")).toMatchObject({ owner: { lease: "1" }, waiting: 1 });
    expect(await stub.release({ name: "job", lease: "2" })).toMatchObject({ code: "notOwner" });
    await stub.release({ name: "job", lease: "1" });
    const second = await next;
    if (first.kind === "error" || second.kind === "error") throw new Error("refused");
    expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
  });
});

describe("calls over a session", () => {
  async function openSession(
    key: string,
  ): Promise<(namespace: string, request: ConfigRequest | Uint8Array) => Promise<SessionAnswer>> {
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
    return (namespace, request) => {
      const body = new ByteWriter();
      if (request instanceof Uint8Array) body.raw(request);
      else writeConfigCallBody(body, { request });
      const writer = new ByteWriter();
      writeRequest(writer, { id: ++id, op: "config", key: namespace, value: body.take() });
      const answered = new Promise<SessionAnswer>((resolve) => waiting.set(id, resolve));
      socket.send(writer.take());
      return answered;
    };
  }
  const read = (answer: SessionAnswer) =>
    answer.kind === "config" ? readConfigAnswer(new ByteReader(answer.body)) : answer;

  it("[CF-30] calls reach the tenant's own keyspace of that namespace, and no other", async () => {
    const [mine, theirs] = [await newTenant(), await newTenant()];
    const ask = await openSession(mine.key);
    const other = await openSession(theirs.key);
    const answers = await Promise.all([
      ask("default", putOf("a")),
      ask("default", putOf("b")),
      ask("other", putOf("c")),
    ]);
    expect(answers.map(read)).toMatchObject([
      { header: { revision: 2 } },
      { header: { revision: 3 } },
      { header: { revision: 2 } },
    ]);
    expect(keysOf(read(await ask("default", all)))).toEqual(["a", "b"]);
    expect(keysOf(read(await other("default", all)))).toEqual([]);
  });

  it("[CF-32] large answers that do not fit into one message are refused alone; small ones and writes go on", async () => {
    const stub = keyspace(newKeyspaceName());
    const value = new Uint8Array(1024 * 1024);
    await callAll(stub, [{ request: { kind: "put", key: "big", value } }]);
    const read = { request: { kind: "range", key: "big", rangeEnd: "" } } as const;
    const answers = await callAll(stub, [...Array.from({ length: 60 }, () => read), { request: putOf("small") }]);
    const kinds = answers.map((answer) => (answer.kind === "error" ? answer.code : answer.kind));
    expect(kinds.slice(0, 25)).toEqual(Array.from({ length: 25 }, () => "range"));
    expect(kinds.slice(40, 60)).toEqual(Array.from({ length: 20 }, () => "overloaded"));
    expect(kinds[60]).toBe("put");
  });

  it("[CF-31] a malformed call or namespace, or a write with a read-only key, is refused alone", async () => {
    const { tenantId, key } = await newTenant();
    const ask = await openSession(key);
    const reader = await openSession(await newKey(tenantId, { scope: "read-only" }));
    const answers = await Promise.all([
      ask("default", putOf("good")),
      ask("default", Uint8Array.of(0, 99)),
      ask("default", Uint8Array.of(0, 11, 0)),
      ask("default", new Uint8Array(0)),
      ask("../x", all),
      reader("default", putOf("bad")),
      reader("default", { kind: "txn", compare: [], success: [putOf("bad")], failure: [] }),
      reader("default", all),
    ]);
    const seen = answers.map(read).map((answer) => (answer.kind === "error" ? answer.code : answer.kind));
    expect(seen).toEqual([
      "put",
      "invalidRequest",
      "invalidRequest",
      "invalidRequest",
      "invalidRequest",
      "forbidden",
      "forbidden",
      "range",
    ]);
    expect(keysOf(read(await ask("default", all)))).toEqual(["good"]);
  });
});
