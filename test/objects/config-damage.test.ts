// Damaged rows of a keyspace and its followers inside workerd: what is refused, what goes on, and what is restored from whom.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { ByteReader, ByteWriter } from "../../src/wire/bytes.ts";
import type { ConfigRequest, RangeAnswer } from "../../src/wire/config.ts";
import { readConfigAnswers } from "../../src/wire/config-answers.ts";
import { prefixRange } from "../../src/wire/config-keys.ts";
import { writeConfigCall } from "../../src/wire/config-requests.ts";
import type { ConfigFollower } from "../../src/worker.ts";
import { call, callAll, keyspace, newKeyspaceName, putOf } from "./config-support.ts";

const all: ConfigRequest = { kind: "range", ...prefixRange("") };
const get = (key: string, revision = 0): ConfigRequest => ({ kind: "range", key, rangeEnd: "", revision });
const shown = (answer: unknown): readonly string[] =>
  (answer as RangeAnswer).kvs.map(({ key, value }) => `${key}=${new TextDecoder().decode(value)}`);
const corrupt = { kind: "error", code: "dataCorrupt" };
const LAST_BYTE = "CAST(substr(record, 1, length(record) - 1) || x'7f' AS BLOB)";

function follower(name: string): DurableObjectStub<ConfigFollower> {
  const { CONFIG_FOLLOWER } = env;
  return CONFIG_FOLLOWER.get(CONFIG_FOLLOWER.idFromName(`z1/${name}`)) as unknown as DurableObjectStub<ConfigFollower>;
}

async function readFollower(name: string, request = all) {
  const writer = new ByteWriter();
  writeConfigCall(writer, { id: 1, request });
  return readConfigAnswers(await follower(name).read(writer.take(), { isLinearizable: true }))[0]!.answer;
}

/** The tables hold what the log says. */
async function isIndexed(stub: DurableObjectStub): Promise<void> {
  const look = async (_: unknown, { storage: { sql } }: DurableObjectState): Promise<void> => {
    const { seq } = sql.exec<{ seq: number }>("SELECT max(seq) AS seq FROM config_log").one();
    const { value } = sql.exec<{ value: ArrayBuffer }>("SELECT value FROM config_facts WHERE name = 'indexed'").one();
    expect(new ByteReader(new Uint8Array(value).subarray(4)).varint()).toBe(seq + 1);
  };
  await vi.waitFor(() => runInDurableObject(stub, look), { timeout: 10_000, interval: 50 });
}

/** Changes bytes on the disk; what is in memory goes with a crash (an eviction would wait for followers' long polls). */
async function damage(stub: DurableObjectStub, statement?: string): Promise<void> {
  if (statement) await isIndexed(stub);
  await runInDurableObject(stub, async (_, state) => {
    if (statement) state.storage.sql.exec(statement).toArray();
    await state.storage.sync();
  });
  await runInDurableObject(stub, (_, state) => state.abort("injected: crash")).catch(() => undefined);
}

describe("damage in a keyspace", () => {
  it("[CF-217] a write that meets it is refused alone: the other callers of its turn are answered", async () => {
    const name = newKeyspaceName();
    await callAll(keyspace(name), [{ request: putOf("bad") }, { request: putOf("good") }]);
    await damage(keyspace(name), `UPDATE config_log SET record = ${LAST_BYTE} WHERE seq = 1`);
    const read = get("bad") as Extract<ConfigRequest, { kind: "range" }>;
    const txn: ConfigRequest = { kind: "txn", compare: [], success: [putOf("good", "x"), read], failure: [] };
    const requests = [putOf("one"), { ...putOf("bad"), prevKv: true }, txn, putOf("two")];
    const answers = await Promise.all(requests.map((request) => call(keyspace(name), request)));
    expect(answers).toMatchObject([{ kind: "put" }, corrupt, corrupt, { kind: "put" }]);
    expect(await call(keyspace(name), { ...all, keysOnly: true } as ConfigRequest)).toMatchObject({
      header: { revision: 5, term: 2 },
      kvs: [{ key: "bad" }, { key: "good", version: 1 }, { key: "one" }, { key: "two" }],
    });
    // Those of one frame in the order of its calls, over sessions too.
    const mixed = [get("one"), get("bad"), get("two")].map((request) => ({ request }));
    expect(await callAll(keyspace(name), mixed)).toMatchObject([{ kind: "range" }, corrupt, { kind: "range" }]);
    expect((await keyspace(name).metrics())["jade_config_damaged_total"]).toBeGreaterThan(1);
  });

  it.each<[string, string, number]>([
    ["config_log", `UPDATE config_log SET record = ${LAST_BYTE} WHERE seq = 2`, 0],
    ["config_current", "UPDATE config_current SET seq = 1 WHERE key = x'61'", 0],
    ["config_ended", "UPDATE config_ended SET version = 7 WHERE key = x'61' AND mod = 2", 2],
  ])(
    "[CF-218] a damaged row of %s is restored from a follower, and refused where none holds it",
    async (_, sql, at) => {
      const [name, alone] = [newKeyspaceName(), newKeyspaceName()];
      for (const each of [name, alone]) for (const value of ["1", "2"]) await call(keyspace(each), putOf("a", value));
      for (const each of [name, alone]) await call(keyspace(each), putOf("b", "3"));
      expect(shown(await readFollower(name))).toEqual(["a=2", "b=3"]);
      for (const each of [name, alone]) await damage(keyspace(each), sql);
      expect(await call(keyspace(alone), get("a", at))).toMatchObject(corrupt);
      expect(shown(await call(keyspace(name), get("a", at)))).toEqual([at === 2 ? "a=1" : "a=2"]);
      await damage(keyspace(name));
      expect(shown(await call(keyspace(name), get("a", at)))).toEqual([at === 2 ? "a=1" : "a=2"]);
      expect(await call(keyspace(alone), get("b"))).toMatchObject({ kind: "range" });
    },
  );

  it("[CF-218] a write that meets what can be restored is done once", async () => {
    const name = newKeyspaceName();
    for (const value of ["1", "2"]) await call(keyspace(name), putOf("a", value));
    await call(keyspace(name), putOf("b", "3"));
    await readFollower(name);
    await damage(keyspace(name), "UPDATE config_current SET seq = 1 WHERE key = x'61'");
    expect(await call(keyspace(name), putOf("a", "4"))).toMatchObject({
      kind: "put",
      version: 3,
      header: { revision: 5 },
    });
    expect((await keyspace(name).metrics())["jade_config_repaired_total"]).toBe(1);
  });

  it.each(["version = 9", "created = 9", "lease = '9'", "crc = 9"])(
    "[CF-218] a living row of the index is restored from the log alone (%s)",
    async (change) => {
      const name = newKeyspaceName();
      await call(keyspace(name), putOf("a", "1"));
      await damage(keyspace(name), `UPDATE config_current SET ${change} WHERE key = x'61'`);
      expect(await call(keyspace(name), get("a"))).toMatchObject({
        kvs: [{ key: "a", createRevision: 2, version: 1, lease: "" }],
      });
    },
  );

  it("[CF-218] the newest record is restored at the start; without a follower everything is refused", async () => {
    const [name, alone] = [newKeyspaceName(), newKeyspaceName()];
    for (const each of [name, alone]) await callAll(keyspace(each), [{ request: putOf("a") }, { request: putOf("b") }]);
    await readFollower(name);
    for (const each of [name, alone])
      await damage(keyspace(each), `UPDATE config_log SET record = ${LAST_BYTE} WHERE seq = 2`);
    expect(await call(keyspace(name), putOf("c"))).toMatchObject({ header: { revision: 4 } });
    const refused = await callAll(keyspace(alone), [{ request: putOf("c") }, { request: get("a") }]);
    expect(refused).toMatchObject([corrupt, corrupt]);
  });

  it("[CF-218] damaged facts refuse everything, damaged times of revisions nothing", async () => {
    const [facts, times] = [newKeyspaceName(), newKeyspaceName()];
    for (const each of [facts, times]) await call(keyspace(each), putOf("a"));
    await damage(keyspace(facts), "UPDATE config_facts SET value = CAST(substr(value, 1, 4) || x'09' AS BLOB)");
    await damage(keyspace(times), "INSERT INTO config_times VALUES (1, 1, 1)");
    expect(await call(keyspace(facts), putOf("b"))).toMatchObject(corrupt);
    expect(await call(keyspace(times), putOf("b"))).toMatchObject({ kind: "put" });
  });

  it("[CF-217] a lease with a damaged key, or compaction over a damaged record, restarts nothing", async () => {
    const name = newKeyspaceName();
    await callAll(keyspace(name), [
      ...[{ request: { kind: "leaseGrant", lease: "5", ttlSeconds: 1 } as const }],
      ...[{ request: { kind: "leaseGrant", lease: "6", ttlSeconds: 1 } as const }],
      ...["1", "2", "3"].map((value) => ({ request: putOf("a", value, { lease: "5" }) })),
      { request: putOf("b", "1", { lease: "6" }) },
    ]);
    await damage(keyspace(name), "UPDATE config_current SET seq = 1 WHERE key = x'61'");
    await damage(keyspace(name), `UPDATE config_log SET record = ${LAST_BYTE} WHERE seq = 2`);
    await call(keyspace(name), { kind: "compact", revision: 4 });
    const ended = async () => expect(shown(await call(keyspace(name), get("b")))).toEqual([]);
    await vi.waitFor(ended, { timeout: 10_000, interval: 100 });
    expect(await call(keyspace(name), putOf("c"))).toMatchObject({ kind: "put", header: { term: 3 } });
  });
});

describe("damage in a follower", () => {
  it("[CF-218] its copy is made anew from the owner, and what was damaged is never shown", async () => {
    const name = newKeyspaceName();
    for (const key of ["a", "b"]) await call(keyspace(name), putOf(key, key));
    expect(shown(await readFollower(name))).toEqual(["a=a", "b=b"]);
    // A read of the past: its tables are brought up to its log.
    expect(shown(await readFollower(name, { ...all, revision: 2 } as ConfigRequest))).toEqual(["a=a"]);
    await damage(follower(name), `UPDATE config_log SET record = ${LAST_BYTE} WHERE seq = 1`);
    expect(shown(await readFollower(name))).toEqual(["a=a", "b=b"]);
    expect((await follower(name).metrics())["jade_config_damaged_total"]).toBe(1);
  });
});
