// One storage node as an object: what survives it, and what it refuses.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { writeCursor } from "../../objects/export.ts";
import { handover } from "../../objects/handover.ts";
import type { KeyValueReplicaRpc } from "../../objects/rpc.ts";
import { readScanPage } from "../../src/replication/scan-frames.ts";
import {
  eventually,
  failingFirst,
  frameOf,
  held,
  namespaceOf,
  newTenantNumber,
  newWriteId,
  readFrameAnswer,
  replaceBindings,
  replica,
  restart,
  rowOf,
  send,
  stampOf,
  stateOf,
  valuesOf,
} from "./replica-support.ts";

const RETENTION_FREE = { kind: "deadline" as const, atMs: Number.MAX_SAFE_INTEGER };

describe("starting", () => {
  it("[RP-13] [RP-29] a cold start finds rows, records and votes again", async () => {
    const row = rowOf(newTenantNumber(), "k");
    const write = stampOf(row, "1");
    const vote = { kind: "vote" as const, row, writeId: newWriteId(), bodyHash: new Uint8Array(8).fill(7) };
    const [stamped, voted] = (await send("n1", write, vote)).results;
    expect([stamped!.kind, voted]).toEqual(["stamped", { kind: "voted", bodyHash: vote.bodyHash, isFirst: true }]);
    await evictDurableObject(replica("n1"));
    expect(valuesOf(await held("n1", row))).toEqual(["1"]);
    const again = (await send("n1", write, { ...vote, bodyHash: new Uint8Array(8) })).results;
    expect(again[0]).toMatchObject({ kind: "stamped", repeated: true, answer: (stamped as { answer: object }).answer });
    expect(again[1]).toEqual({ kind: "voted", bodyHash: vote.bodyHash, isFirst: false });
  });

  it("[RP-12] the incarnation is registered once and kept; no counter comes twice", async () => {
    const row = rowOf(newTenantNumber(), "k");
    const seen = new Set<number>();
    const actors = new Set<number>();
    for (let i = 0; i < 4; i++) {
      const { actor, results } = await send("n1", stampOf(row, String(i)));
      actors.add(actor);
      const [result] = results;
      if (result?.kind !== "stamped") throw new Error(result?.kind);
      expect(seen.has(result.counter)).toBe(false);
      seen.add(result.counter);
      await evictDurableObject(replica("n1"));
    }
    expect(actors.size).toBe(1);
  });

  it("two calls that meet a cold object are both answered, by one start", async () => {
    const tenant = newTenantNumber();
    await send("n2", RETENTION_FREE);
    await evictDurableObject(replica("n2"));
    const answers = await Promise.all([1, 2, 3].map((n) => send("n2", stampOf(rowOf(tenant, `k${n}`), String(n)))));
    const counters = answers.flatMap(({ results }) => (results[0]?.kind === "stamped" ? [results[0].counter] : []));
    expect(new Set(counters).size).toBe(3);
    expect(new Set(answers.map(({ actor }) => actor)).size).toBe(1);
    for (const n of [1, 2, 3]) expect(valuesOf(await held("n2", rowOf(tenant, `k${n}`)))).toEqual([String(n)]);
  });

  it("[RP-13] an object that dies right after a turn holds all of the frame or nothing, record and row alike", async () => {
    const tenant = newTenantNumber();
    for (let round = 0; round < 5; round++) {
      const rows = ["a", "b", "c"].map((key) => rowOf(tenant, `${key}${round}`));
      const writes = rows.map((row) => stampOf(row, "1"));
      await runInDurableObject(replica("n3"), (instance, state) => {
        (instance as unknown as KeyValueReplicaRpc).call(frameOf(...writes)).catch(() => undefined);
        state.abort("injected: died before the answer");
      }).catch(() => undefined);
      const states = await Promise.all(rows.map((row) => held("n3", row)));
      const there = states.filter((state) => state !== undefined).length;
      expect([0, 3]).toContain(there);
      const recalls = writes.map((write, i) => ({
        kind: "recall" as const,
        row: rows[i]!,
        writeId: (write as { writeId: Uint8Array }).writeId,
      }));
      const { results } = await send("n3", ...recalls);
      expect(results.filter((result) => result.kind === "recalled" && result.answer).length).toBe(there);
      const [next] = (await send("n3", stampOf(rows[0]!, "2"))).results;
      expect(next?.kind).toBe("stamped");
    }
  });
});

describe("frames in memory", () => {
  const sendHanded = (frame: Uint8Array): Promise<Uint8Array | undefined> =>
    handover.send(frame, (number) => replica("n1").callHanded(number));

  it("[RP-115] are answered like those in an RPC; what is not found changes nothing", async () => {
    const row = rowOf(newTenantNumber(), "k");
    const answer = await sendHanded(frameOf(stampOf(row, "1")));
    expect(readFrameAnswer(answer!).results.map(({ kind }) => kind)).toEqual(["stamped"]);
    await restart("n1");
    expect(valuesOf(await held("n1", row))).toEqual(["1"]);
    expect(await replica("n1").callHanded(-1)).toBe(false);
    expect(handover.size).toBe(0);
  });

  it("[RP-115] an answer that lies in memory does not count when the object dies before its commit is durable", async () => {
    const row = rowOf(newTenantNumber(), "k");
    let wasAnswered = false;
    const sending = handover.send(frameOf(stampOf(row, "1")), async (number) => {
      // The call's own way, and then the end of the object in the same turn: nothing of the turn is durable.
      await runInDurableObject(replica("n1"), async (instance, state) => {
        wasAnswered = await (instance as unknown as KeyValueReplicaRpc).callHanded(number);
        state.abort("injected: died before the commit");
      });
      return true;
    });
    await expect(sending).rejects.toThrow("injected");
    expect(wasAnswered).toBe(true);
    expect(handover.size).toBe(0);
    expect(valuesOf(await held("n1", row))).toEqual([]);
  });
});

describe("refusing", () => {
  it("[RP-30] a malformed frame is an error for its sender only: the object goes on", async () => {
    const row = rowOf(newTenantNumber(), "k");
    await send("n1", stampOf(row, "1"));
    const marker = await runInDurableObject(replica("n1"), (instance) => {
      (instance as unknown as { marker: number }).marker = 1;
      return 1;
    });
    for (const frame of [new Uint8Array([99]), frameOf(stampOf(row, "2")).slice(0, -1)]) {
      const refusal = await runInDurableObject(replica("n1"), (instance) =>
        (instance as unknown as KeyValueReplicaRpc).call(frame).catch((error: Error) => error.name),
      );
      expect(refusal).toBe("MalformedBytes");
    }
    expect(valuesOf(await held("n1", row))).toEqual(["1"]);
    expect(
      await runInDurableObject(replica("n1"), (instance) => (instance as unknown as { marker?: number }).marker),
    ).toBe(marker);
  });

  it("[RP-23] a shipped state that cannot be read is refused as corrupt, the rest of its frame is applied", async () => {
    const tenant = newTenantNumber();
    const bad = { kind: "merge" as const, row: rowOf(tenant, "bad"), state: new Uint8Array([1, 2, 3]) };
    const { results } = await send("n1", bad, stampOf(rowOf(tenant, "good"), "1"));
    expect(results.map((result) => (result.kind === "refused" ? result.code : result.kind))).toEqual([
      "corrupt",
      "stamped",
    ]);
    expect(await held("n1", rowOf(tenant, "bad"))).toBeUndefined();
  });

  it("[RP-36] a stamp past its deadline is refused and leaves nothing; one before it is not", async () => {
    const row = rowOf(newTenantNumber(), "k");
    const { nowMs } = await send("n1");
    const late = await send("n1", stampOf(row, "1"), { kind: "deadline", atMs: nowMs - 1 });
    expect(late.results[0]).toMatchObject({ kind: "refused", code: "expired" });
    expect(await held("n1", row)).toBeUndefined();
    const due = await send("n1", stampOf(row, "1"), { kind: "deadline", atMs: late.nowMs + 60_000 });
    expect(due.results[0]!.kind).toBe("stamped");
    // Another life of it: what was sent before must not be applied now, however little time has gone by.
    await restart("n1");
    const old = await send("n1", stampOf(row, "2"), { kind: "deadline", atMs: due.nowMs + 60_000 });
    expect(old.results[0]).toMatchObject({ kind: "refused", code: "expired" });
    expect(Math.abs(old.nowMs - due.nowMs)).toBeGreaterThan(60_000);
  });

  it("[RP-22] an erased tenant is refused, and nothing of it is left or comes back", async () => {
    const tenant = newTenantNumber();
    const other = newTenantNumber();
    await send("n1");
    await replaceBindings(replica("n1"), { KEY_VALUE_REPLICA: namespaceOf(() => failingFirst("n2", 1e9)) });
    for (const owner of [tenant, other])
      await send("n1", stampOf(rowOf(owner, "k"), "1"), {
        kind: "hint",
        row: rowOf(owner, "k"),
        target: "n2",
        state: stateOf("1", 1),
      });
    await eventually(() => replica("n1").eraseTenant(tenant));
    const row = rowOf(tenant, "k");
    const ops = [
      { kind: "get" as const, row },
      stampOf(row, "2"),
      { kind: "merge" as const, row, state: stateOf("3", 1) },
      { kind: "recall" as const, row, writeId: newWriteId() },
    ];
    const codes = async () =>
      (await send("n1", ...ops)).results.map((result) => (result.kind === "refused" ? result.code : result.kind));
    expect(new Set(await codes())).toEqual(new Set(["tenantErased"]));
    await restart("n1");
    expect(new Set(await codes())).toEqual(new Set(["tenantErased"]));
    expect(readScanPage(await replica("n1").scan(tenant, null, 10, 0)).rows).toEqual([]);
    const hints = await runInDurableObject(replica("n1"), (_, state) => [
      ...state.storage.sql.exec("SELECT DISTINCT tenant FROM hints WHERE target = 'n2'"),
    ]);
    expect(hints).toEqual([{ tenant: other }]);
    expect(valuesOf(await held("n1", rowOf(other, "k")))).toEqual(["1"]);
    await eventually(() => replica("n1").eraseTenant(other));
  });
});

describe("reading", () => {
  it("scan pages give each row of the tenant once, in ring order, none of others", async () => {
    const tenant = newTenantNumber();
    const keys = Array.from({ length: 25 }, (_, i) => `key ${i}`);
    await send(
      "n1",
      ...keys.map((key) => stampOf(rowOf(tenant, key), key)),
      stampOf(rowOf(newTenantNumber(), "other"), "x"),
    );
    const found: string[] = [];
    let last = -1;
    let after: Uint8Array | null = null;
    for (let pages = 0; pages < 10; pages++) {
      const page: ReturnType<typeof readScanPage> = readScanPage(await replica("n1").scan(tenant, after, 10, 0));
      for (const { row } of page.rows) {
        expect(row.token.hi).toBeGreaterThanOrEqual(last);
        last = row.token.hi;
        found.push(row.key);
      }
      if (page.done) break;
      after = writeCursor(page.rows.at(-1)!.row);
    }
    expect(found.sort()).toEqual(keys.sort());
  });

  it("[RP-17] what would not fit into one RPC message is deferred, not lost: the frame is answered all the same", async () => {
    const tenant = newTenantNumber();
    const big = "x".repeat(1024 * 1024);
    const rows = Array.from({ length: 40 }, (_, i) => rowOf(tenant, `big ${i}`));
    for (const row of rows) await send("n2", stampOf(row, big));
    const answer = readFrameAnswer(
      await replica("n2").call(frameOf(...rows.map((row) => ({ kind: "get" as const, row })))),
    );
    const kinds = answer.results.map((result) => (result.kind === "refused" ? result.code : result.kind));
    expect(kinds.slice(0, 12)).toEqual(Array(12).fill("state"));
    expect(new Set(kinds.slice(13))).toEqual(new Set(["deferred"]));
  });

  it("probe writes and reads; the alarm runs on a node with nothing to do", async () => {
    await replica("n3").probe();
    await runDurableObjectAlarm(replica("n3"));
    expect(Object.keys(await replica("n3").metrics()).length).toBeGreaterThan(5);
  });
});
