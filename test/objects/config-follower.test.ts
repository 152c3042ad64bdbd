// Followers as objects: they follow over RPC, catch up, read as new as asked, and start over when they must.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { SnapshotAsk } from "../../objects/keyspace-snapshots.ts";
import type { FollowerReadOptions } from "../../objects/rpc.ts";
import type { SnapshotBegin, SnapshotPage } from "../../src/config/snapshot-source.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import type { ConfigAnswer, ConfigFailure, ConfigRequest, RangeAnswer } from "../../src/wire/config.ts";
import { readConfigAnswers } from "../../src/wire/config-answers.ts";
import { prefixRange } from "../../src/wire/config-keys.ts";
import { writeConfigCall } from "../../src/wire/config-requests.ts";
import type { ConfigFollower } from "../../src/worker.ts";
import { askOf, newGateway } from "./access-support.ts";
import { call, callAll, keyspace, newKeyspaceName, putOf } from "./config-support.ts";
import { newTenant } from "./gateway-support.ts";

const WAIT = { timeout: 20_000 };
const all: ConfigRequest = { kind: "range", ...prefixRange("") };

function follower(name: string): DurableObjectStub<ConfigFollower> {
  return env.CONFIG_FOLLOWER.get(
    env.CONFIG_FOLLOWER.idFromName(`z1/${name}`),
  ) as unknown as DurableObjectStub<ConfigFollower>;
}

async function read(
  name: string,
  options: FollowerReadOptions = {},
  request = all,
): Promise<ConfigAnswer | ConfigFailure> {
  const writer = new ByteWriter();
  writeConfigCall(writer, { id: 1, request });
  return readConfigAnswers(await follower(name).read(writer.take(), options))[0]!.answer;
}

/** As kill -9 of its process: an eviction would wait for the long poll that is under way. */
async function crash(stub: DurableObjectStub): Promise<void> {
  await runInDurableObject(stub, (_, state) => state.abort("injected: crash")).catch(() => undefined);
}

const shown = (answer: ConfigAnswer | ConfigFailure): readonly string[] => {
  if (answer.kind === "error") throw new Error(`${answer.code} ${answer.message}`);
  return (answer as RangeAnswer).kvs.map(({ key, value }) => `${key}=${new TextDecoder().decode(value)}`);
};

describe("a gateway with followers", () => {
  it("[CF-116] serves serializable reads from the zone's copy, as old as allowed at most, and falls back to the owner", async () => {
    const { key } = await newTenant();
    const gateway = newGateway({ config: { serveFromFollowers: true } });
    const get = (query: string) => askOf(gateway, "GET", `/v1/config/keys?key=a&${query}`, { key });
    for (let i = 0; i < 5; i++) {
      await askOf(gateway, "PUT", "/v1/config/keys/a", { key, body: { value: i } });
      expect((await get("consistency=serializable&maxStalenessMs=0")).json.data["value"]).toBe(i);
    }
    // Only the follower can be behind: what it shows is some earlier value, never an error.
    await askOf(gateway, "PUT", "/v1/config/keys/a", { key, body: { value: 5 } });
    expect([4, 5]).toContain((await get("consistency=serializable")).json.data["value"]);
    expect((await get("consistency=linearizable")).json.data["value"]).toBe(5);
    const list = await askOf(gateway, "GET", "/v1/config/range?prefix=&consistency=serializable&maxStalenessMs=0", {
      key,
    });
    expect(list.json.data["items"]).toHaveLength(1);
    expect((await get("revision=99&consistency=serializable")).json.code).toBe("futureRevision");
  });
});

describe("a follower", () => {
  it("[CF-115] a linearizable read shows every write that was answered before it began", async () => {
    const name = newKeyspaceName();
    for (let i = 0; i < 60; i++) {
      await call(keyspace(name), putOf("a", String(i)));
      expect(shown(await read(name, { isLinearizable: true }))).toEqual([`a=${i}`]);
    }
  });

  it("[CF-116] a read shows at least the revision the caller has seen, and is no staler than allowed", async () => {
    const name = newKeyspaceName();
    await read(name, { isLinearizable: true });
    for (let i = 0; i < 30; i++) {
      const written = await call(keyspace(name), putOf("a", String(i)));
      if (written.kind === "error") throw new Error("refused");
      const answer =
        i % 2 ? await read(name, { minRevision: written.header.revision }) : await read(name, { maxStalenessMs: 0 });
      expect(shown(answer)).toEqual([`a=${i}`]);
    }
  });

  it("[CF-111] it goes on where it was after it started anew, and after its owner did", async () => {
    const name = newKeyspaceName();
    await callAll(keyspace(name), [{ request: putOf("a", "1") }, { request: putOf("b", "1") }]);
    await read(name, { isLinearizable: true });
    await crash(follower(name));
    expect(shown(await read(name))).toEqual(["a=1", "b=1"]);
    await crash(keyspace(name));
    await call(keyspace(name), putOf("a", "2"));
    await vi.waitFor(async () => expect(shown(await read(name))).toEqual(["a=2", "b=1"]), {
      timeout: 8000,
      interval: 50,
    });
  });

  it("[CF-255] one that was left alone shows what its owner has, also to a read of any age", async () => {
    const name = newKeyspaceName();
    for (let round = 1; round <= 5; round++) {
      await call(keyspace(name), putOf("a", String(round)));
      expect(shown(await read(name))).toEqual([`a=${round}`]);
      await crash(follower(name));
    }
  });

  it("[CF-113] one that lags behind the compacted revision copies the state and follows on", async () => {
    const name = newKeyspaceName();
    await call(keyspace(name), putOf("a", "0"));
    await read(name, { isLinearizable: true });
    await crash(follower(name));
    const writes = Array.from({ length: 1500 }, (_, i) => ({ request: putOf(`k${i % 700}`, String(i)) }));
    await callAll(keyspace(name), writes);
    await call(keyspace(name), { kind: "compact", revision: 1400 });
    await vi.waitFor(
      async () => {
        const left = await runInDurableObject(keyspace(name), (_, state) =>
          Number(state.storage.sql.exec("SELECT count(*) AS n FROM config_log").one()["n"]),
        );
        expect(left).toBeLessThan(850);
      },
      { timeout: 5000, interval: 50 },
    );
    expect(shown(await read(name, { isLinearizable: true }))).toEqual(shown(await call(keyspace(name), all)));
    await call(keyspace(name), putOf("a", "later"));
    expect(shown(await read(name, { isLinearizable: true }, { kind: "range", key: "a", rangeEnd: "" }))).toEqual([
      "a=later",
    ]);
    expect(await read(name, {}, { ...all, kind: "range", revision: 1300 } as never)).toMatchObject({
      code: "compacted",
    });
    expect(await read(name, {}, putOf("a"))).toMatchObject({ code: "invalidRequest" });
  });

  it("[CF-158] after its owner was restored it copies what that has now, and never goes on with the old log", async () => {
    const name = newKeyspaceName();
    const owner = (ask: SnapshotAsk) => keyspace(name).snapshots(ask);
    for (const value of ["1", "2"]) await call(keyspace(name), putOf("a", value));
    const begun = (await owner({ kind: "begin" })) as { begin: SnapshotBegin };
    const { id, revision } = begun.begin;
    const { page } = (await owner({ kind: "keys", id, after: "" })) as { page: SnapshotPage };
    await owner({ kind: "end", id });
    await call(keyspace(name), putOf("a", "3"));
    await call(keyspace(name), putOf("b", "gone after the restore"));
    expect(shown(await read(name, { isLinearizable: true }))).toEqual(["a=3", "b=gone after the restore"]);
    await owner({ kind: "beginRestore", token: 9, revision });
    await owner({ kind: "restoreKeys", token: 9, payload: page.payload });
    const end = { keys: 1, leases: 0, revision, checksum: 1 };
    // The object starts anew: the call fails.
    await owner({ kind: "finish", token: 9, end, leastRevision: 0 }).catch(() => undefined);
    await vi.waitFor(async () => {
      expect(shown(await read(name, { isLinearizable: true }))).toEqual(["a=2"]);
    }, WAIT);
    await call(keyspace(name), putOf("c", "next"));
    const after = (await read(name, { isLinearizable: true })) as RangeAnswer & { header: { revision: number } };
    expect([shown(after as ConfigAnswer), after.header.revision]).toEqual([["a=2", "c=next"], revision + 2 + 3]);
  });
});
