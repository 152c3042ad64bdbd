import { describe, expect, it } from "vitest";
import { Random } from "../../test/simulation/random.ts";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import { ByteReader } from "../wire/bytes.ts";
import type {
  ConfigAnswer,
  ConfigFailure,
  ConfigRequest,
  LeaseAnswer,
  PutRequest,
  RangeAnswer,
} from "../wire/config.ts";
import { readConfigAnswer } from "../wire/config-answers.ts";
import { prefixRange } from "../wire/config-keys.ts";
import { ConfigRefusal } from "./failure.ts";
import type { Change } from "./keyspace.ts";
import { isLeaseId } from "./leases.ts";
import { MAX_KEY_BYTES, MAX_TXN_OPERATIONS, MAX_VALUE_BYTES } from "./limits.ts";
import { CorruptRecord } from "./record.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const put = (key: string, value = "v", more: Partial<PutRequest> = {}): PutRequest => ({
  kind: "put",
  key,
  value: bytes(value),
  ...more,
});
const all: ConfigRequest = { kind: "range", ...prefixRange("") };
const keysOf = (answer: ConfigAnswer): readonly string[] => (answer as RangeAnswer).kvs.map(({ key }) => key);
const refusalOf = (run: () => unknown): ConfigRefusal | undefined => {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigRefusal) return error;
    throw error;
  }
  return undefined;
};
const codeOf = (run: () => unknown): string => refusalOf(run)?.code ?? "none";
const repeatable = (request: ConfigRequest, id: number, body = 1) => ({
  id: 0,
  writeId: new Uint8Array(16).fill(id),
  bodyHash: new Uint8Array(8).fill(body),
  request,
});
const decode = (answer: Uint8Array): ConfigAnswer | ConfigFailure => readConfigAnswer(new ByteReader(answer));

describe("requests", () => {
  it("[CF-5] a transaction that may write a key twice is refused, in branches and inner transactions too", () => {
    const { desk } = openDesk();
    const inner = (key: string): ConfigRequest => ({ kind: "txn", compare: [], success: [], failure: [put(key)] });
    const refused: ConfigRequest[] = [
      { kind: "txn", compare: [], success: [put("a"), put("a")], failure: [] },
      { kind: "txn", compare: [], success: [], failure: [put("a"), { kind: "deleteRange", key: "a", rangeEnd: "b" }] },
      { kind: "txn", compare: [], success: [put("a"), inner("a") as never], failure: [] },
      {
        kind: "txn",
        compare: [],
        success: [
          put("a"),
          { kind: "txn", compare: [], success: [{ kind: "deleteRange", key: "a", rangeEnd: "" }], failure: [] },
        ],
        failure: [],
      },
    ];
    for (const request of refused) expect(codeOf(() => desk.answer(request))).toBe("duplicateKey");
    const told = [
      ["success[0]", "success[1]"],
      ["failure[1]", "failure[0]"],
      ["success[0]", "success[1].failure[0]"],
      ["success[0]", "success[1].success[0]"],
    ];
    for (const [index, operations] of told.entries()) {
      const message = `${operations.join(" and ")} write the key "a": a transaction may write each key once`;
      expect(refusalOf(() => desk.answer(refused[index]!))).toMatchObject({
        message,
        details: { key: "a", operations },
      });
    }
    expect(desk.keyspace.revision).toBe(1);
    const twoBranches = { kind: "txn", compare: [], success: [put("a")], failure: [put("a")] } as const;
    expect(desk.answer({ ...twoBranches, success: [put("b"), twoBranches] }).header.revision).toBe(2);
  });

  it("[CF-4] limits are named, and nothing is written", () => {
    const { desk } = openDesk();
    expect(codeOf(() => desk.answer(put("")))).toBe("invalidRequest");
    expect(codeOf(() => desk.answer(put("k".repeat(MAX_KEY_BYTES + 1))))).toBe("invalidRequest");
    expect(codeOf(() => desk.answer({ ...put("k"), value: new Uint8Array(MAX_VALUE_BYTES + 1) }))).toBe(
      "payloadTooLarge",
    );
    const full = (prefix: string) => Array.from({ length: MAX_TXN_OPERATIONS }, (_, i) => put(`${prefix}${i}`));
    const nested = {
      kind: "txn",
      compare: [],
      success: full("a").slice(0, 64),
      failure: full("b").slice(0, 64),
    } as const;
    const both = [...full("c").slice(0, 64), nested];
    expect(codeOf(() => desk.answer({ kind: "txn", compare: [], success: [...both, put("d")], failure: [] }))).toBe(
      "tooManyOperations",
    );
    const many = Array.from({ length: MAX_TXN_OPERATIONS + 1 }, (_, i) => put(`k${i}`));
    expect(codeOf(() => desk.answer({ kind: "txn", compare: [], success: many, failure: [] }))).toBe(
      "tooManyOperations",
    );
    expect(
      codeOf(() =>
        desk.answer({ kind: "txn", compare: [], success: [put("a"), put("b", "v", { lease: "9" })], failure: [] }),
      ),
    ).toBe("leaseNotFound");
    expect(desk.keyspace.revision).toBe(1);
    // As etcd counts: each branch by itself.
    expect(desk.answer({ kind: "txn", compare: [], success: both, failure: full("e") }).header.revision).toBe(2);
  });

  it("[CF-7] sequential keys sort in the order they were made", () => {
    const { desk } = openDesk();
    for (let i = 0; i < 12; i++) desk.answer(put("job-", String(i), { sequential: true }));
    const made = (desk.answer(all) as RangeAnswer).kvs;
    expect(made.map(({ value }) => new TextDecoder().decode(value))).toEqual(
      Array.from({ length: 12 }, (_, i) => String(i)),
    );
    expect(made[0]!.key).toBe("job-0000000000000002");
  });

  it("[CF-9] one level of a hierarchy: keys directly under it, and each deeper prefix once", () => {
    const { desk } = openDesk();
    for (let i = 0; i < 50; i++) desk.answer(put(`x/a/${i}`));
    for (const key of ["x", "x/", "x/0", "x/a", "x/b/1/2", "x/z", "y/1"]) desk.answer(put(key));
    const level = (more: object): RangeAnswer =>
      desk.keyspace.range({ kind: "range", ...prefixRange("x/"), delimiter: "/", delimiterFrom: 2, ...more });
    const answer = level({});
    expect(answer.kvs.map(({ key }) => key)).toEqual(["x/", "x/0", "x/a", "x/z"]);
    expect(answer.commonPrefixes).toEqual(["x/a/", "x/b/"]);
    const cut = level({ limit: 4 });
    expect([cut.more, cut.kvs.length, cut.commonPrefixes]).toEqual([true, 3, ["x/a/"]]);
  });

  it("[CF-15] a repeated write is applied once and answered as the first time, after a restart too", () => {
    const opened = openDesk();
    const first = decode(opened.desk.run(repeatable(put("a", "1"), 1)));
    opened.restart();
    expect(decode(opened.desk.run(repeatable(put("a", "1"), 1)))).toEqual(first);
    expect(opened.desk.keyspace.revision).toBe(2);
    expect(decode(opened.desk.run(repeatable(put("a", "2"), 1, 2)))).toMatchObject({ code: "idempotencyKeyReused" });
    // A refusal is not kept: what was refused is tried anew.
    const leased = repeatable(put("b", "1", { lease: "5" }), 2);
    expect(decode(opened.desk.run(leased))).toMatchObject({ code: "leaseNotFound" });
    opened.desk.answer({ kind: "leaseGrant", lease: "5", ttlSeconds: 10 });
    expect(decode(opened.desk.run(leased))).toMatchObject({ kind: "put" });
  });
});

describe("storage", () => {
  it("[CF-12] compaction leaves the living versions and what the compacted revision shows, in slices over restarts", () => {
    const opened = openDesk();
    for (let i = 0; i < 3000; i++) opened.desk.answer(put(`k${i % 7}`, String(i)));
    for (let i = 0; i < 3; i++) opened.desk.answer({ kind: "deleteRange", key: `k${i}`, rangeEnd: "" });
    const { revision } = opened.desk.keyspace;
    opened.desk.answer({ kind: "compact", revision });
    let slices = 0;
    while (opened.desk.mustCompact) {
      opened.desk.compactStep();
      if (++slices % 2 === 0) opened.restart();
    }
    expect(slices).toBeGreaterThan(5);
    const count = (table: string): number =>
      Number(opened.sql.database.prepare(`SELECT count(*) AS n FROM ${table}`).get()!["n"]);
    // The last deletion has the compacted revision: watches from it may still see it.
    expect([count("config_current"), count("config_ended"), count("config_log")]).toEqual([4, 0, 5]);
    expect(keysOf(opened.desk.answer(all))).toEqual(["k3", "k4", "k5", "k6"]);
    expect(codeOf(() => opened.desk.keyspace.range({ ...all, revision: revision - 1 } as never))).toBe("compacted");
    expect(opened.desk.answer(put("k0")).header.revision).toBe(revision + 1);
  });

  it("[CF-11] a changed byte in any stored row is refused, never served", () => {
    const damages = [
      "UPDATE config_log SET record = CAST(substr(record, 1, length(record) - 1) || x'7f' AS BLOB) WHERE seq = 2",
      "UPDATE config_current SET version = version + 1 WHERE key = x'61'",
      "UPDATE config_current SET lease = '99' WHERE key = x'61'",
      "UPDATE config_current SET seq = 3 WHERE key = x'61'",
      "UPDATE config_ended SET version = version + 1",
      "UPDATE config_ended SET ended = ended + 1",
    ];
    for (const damage of damages) {
      const opened = openDesk({ cacheBytes: 0 });
      opened.desk.answer(put("a", "1"));
      opened.desk.answer(put("a", "2"));
      opened.desk.answer(put("b", "3"));
      opened.desk.store.flush();
      opened.sql.endTurn();
      opened.sql.database.exec(damage);
      const revision = damage.includes("config_ended") ? 2 : 0;
      expect(() => opened.desk.keyspace.range({ kind: "range", key: "a", rangeEnd: "", revision }), damage).toThrow(
        CorruptRecord,
      );
    }
    const atStart = [
      "UPDATE config_facts SET value = CAST(substr(value, 1, 4) || x'09' AS BLOB)",
      "UPDATE config_log SET record = CAST(substr(record, 1, length(record) - 1) || x'7f' AS BLOB)",
    ];
    for (const damage of atStart) {
      const opened = openDesk();
      opened.desk.answer({ kind: "leaseGrant", lease: "5", ttlSeconds: 10 });
      opened.clock.ms += 1000;
      opened.desk.answer({ kind: "leaseKeepAlive", lease: "5" });
      opened.desk.run(repeatable(put("a"), 1));
      opened.desk.endTurn();
      opened.sql.endTurn();
      opened.sql.database.exec(damage);
      expect(() => opened.restart(), damage).toThrow(CorruptRecord);
    }
  });

  it("[CF-13][CF-14] each start has a higher term; each record's chain value follows from all before it", () => {
    const chains = (values: readonly string[]): readonly number[] => {
      const seen: Change[] = [];
      const opened = openDesk({ onChange: (_, changes) => seen.push(...changes) });
      for (const value of values) opened.desk.answer(put("a", value));
      const { term } = opened.desk.keyspace;
      opened.restart();
      expect(opened.desk.keyspace.term).toBe(term + 1);
      expect(opened.desk.keyspace.chain).toBe(seen.at(-1)!.record.chain);
      return seen.map(({ record }) => record.chain);
    };
    const one = chains(["1", "2", "3"]);
    const other = chains(["1", "x", "3"]);
    expect(one[0]).toBe(other[0]);
    expect(one[1]).not.toBe(other[1]);
    expect(one[2]).not.toBe(other[2]);
  });
});

describe("history", () => {
  const HOUR_MS = 3_600_000;

  it("[CF-16] history goes by age, in time and not before, over restarts", () => {
    const opened = openDesk({ retention: { keepMs: 10 * HOUR_MS, keepRevisions: 0 } });
    const writtenMs = new Map<number, number>();
    for (let minute = 0; minute < 60 * 30; minute += 7) {
      opened.clock.ms += 7 * 60_000;
      writtenMs.set(opened.desk.answer(put("a", String(minute))).header.revision, opened.clock.ms);
      opened.desk.endTurn();
      if (minute % 70 === 0) opened.restart();
      const { compactedRevision } = opened.desk.keyspace;
      for (const [revision, atMs] of writtenMs) {
        const ageMs = opened.clock.ms - atMs;
        if (ageMs < 10 * HOUR_MS) expect(revision).toBeGreaterThan(compactedRevision);
        if (ageMs > 10.3 * HOUR_MS) expect(revision).toBeLessThanOrEqual(compactedRevision);
      }
    }
    expect(opened.desk.keyspace.compactedRevision).toBeGreaterThan(100);
    // Without a write too: what is due next is told.
    opened.clock.ms = opened.desk.nextDueMs;
    const before = opened.desk.keyspace.compactedRevision;
    opened.desk.endTurn();
    expect(opened.desk.keyspace.compactedRevision).toBeGreaterThan(before);
  });

  it("[CF-16] history goes by number", () => {
    const { desk } = openDesk({ retention: { keepMs: 0, keepRevisions: 100 } });
    for (let i = 0; i < 1000; i++) {
      desk.answer(put("a", String(i)));
      desk.endTurn();
      const behind = desk.keyspace.revision - desk.keyspace.compactedRevision;
      if (i > 110) expect(behind).toBeGreaterThanOrEqual(100);
      expect(behind).toBeLessThanOrEqual(106);
    }
  });
});

describe("leases", () => {
  it("[CF-20][CF-21] a lease ends when its time is over, not before, and takes its keys in one revision", () => {
    const opened = openDesk();
    opened.desk.answer({ kind: "leaseGrant", lease: "5", ttlSeconds: 10 });
    opened.desk.answer(put("a", "1", { lease: "5" }));
    opened.desk.answer(put("b", "1", { lease: "5" }));
    opened.desk.answer(put("c", "1"));
    opened.clock.ms += 6_000;
    opened.desk.answer({ kind: "leaseKeepAlive", lease: "5" });
    opened.clock.ms += 9_999;
    opened.desk.expireLeases();
    expect(keysOf(opened.desk.answer(all))).toEqual(["a", "b", "c"]);
    opened.clock.ms += 1;
    opened.desk.expireLeases();
    expect(keysOf(opened.desk.answer(all))).toEqual(["c"]);
    expect(opened.desk.keyspace.revision).toBe(5);
    expect(opened.desk.answer({ kind: "leaseTimeToLive", lease: "5" })).toMatchObject({ ttlSeconds: -1 });
  });

  it("[CF-20][CF-198] over restarts a lease ends no earlier than its time, and 25 seconds later at most", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(seed);
      const opened = openDesk();
      const ttls = Array.from({ length: 8 }, () => random.between(1, 40));
      const aliveMs = ttls.map(() => opened.clock.ms);
      for (const [i, ttlSeconds] of ttls.entries())
        opened.desk.answer({ kind: "leaseGrant", lease: String(i + 1), ttlSeconds });
      opened.desk.endTurn();
      // One is never kept alive: its holder is gone.
      for (let step = 0; step < 120; step++) {
        opened.clock.ms += random.between(1, 900);
        if (random.chance(0.1)) {
          if (random.chance(0.5)) opened.sql.endTurn();
          opened.sql.endTurn();
          opened.clock.ms += random.between(1, 24_000);
          opened.restart();
        }
        opened.desk.expireLeases();
        for (const [i, ttlSeconds] of ttls.entries()) {
          const lease = opened.desk.leases.get(String(i + 1));
          const ageMs = opened.clock.ms - aliveMs[i]!;
          const place = `seed ${seed} step ${step} lease ${i + 1} of ${ttlSeconds} s, kept alive ${ageMs} ms ago`;
          if (!lease) expect(ageMs, place).toBeGreaterThanOrEqual(ttlSeconds * 1000);
          else {
            expect(ageMs, place).toBeLessThanOrEqual(ttlSeconds * 1000 + 24_500);
            if (i > 0 && random.chance(0.3) && opened.desk.leases.keepAlive(lease.id, opened.clock.ms))
              aliveMs[i] = opened.clock.ms;
          }
        }
        opened.desk.endTurn();
        opened.sql.endTurn();
      }
    }
  });

  it("[CF-199] keep-alives of a turn are one row, and rows do not pile up", () => {
    const opened = openDesk();
    const rows = () => Number(opened.sql.database.prepare("SELECT count(*) AS n FROM config_lease_times").get()!["n"]);
    for (let i = 1; i <= 1000; i++) opened.desk.answer({ kind: "leaseGrant", lease: String(i), ttlSeconds: 30 });
    opened.desk.endTurn();
    let most = 0;
    for (let round = 1; round <= 40; round++) {
      opened.clock.ms += 10_000;
      for (let i = 1; i <= 1000; i++) opened.desk.answer({ kind: "leaseKeepAlive", lease: String(i) });
      opened.desk.endTurn();
      most = Math.max(most, rows());
    }
    expect(most).toBe(8);
    opened.restart();
    expect(opened.desk.leases.get("1000")!.deadlineMs).toBe(opened.clock.ms + 30_500);
    // A lease that was revoked and granted anew has nothing of the old one.
    opened.desk.answer({ kind: "leaseRevoke", lease: "7" });
    opened.clock.ms += 1;
    opened.desk.answer({ kind: "leaseGrant", lease: "7", ttlSeconds: 3 });
    opened.restart();
    expect(opened.desk.leases.get("7")!.deadlineMs).toBe(opened.clock.ms + 3500);
  });

  it("[CF-22] a put without the lease detaches the key", () => {
    const { desk } = openDesk();
    expect(codeOf(() => desk.answer(put("a", "1", { lease: "5" })))).toBe("leaseNotFound");
    const { lease } = desk.answer({ kind: "leaseGrant", lease: "", ttlSeconds: 10 }) as LeaseAnswer;
    expect(isLeaseId(lease)).toBe(true);
    desk.answer(put("a", "1", { lease }));
    desk.answer(put("b", "1", { lease }));
    desk.answer(put("a", "2"));
    expect(desk.answer({ kind: "leaseTimeToLive", lease, withKeys: true })).toMatchObject({ keys: ["b"] });
    desk.answer({ kind: "leaseRevoke", lease });
    expect(keysOf(desk.answer(all))).toEqual(["a"]);
  });

  it("[CF-23] a lease whose time is over is not kept alive, and random deadlines end in time", () => {
    const opened = openDesk();
    opened.desk.answer({ kind: "leaseGrant", lease: "5", ttlSeconds: 1 });
    opened.clock.ms += 1000;
    expect(opened.desk.answer({ kind: "leaseKeepAlive", lease: "5" })).toMatchObject({ ttlSeconds: -1 });
    for (let i = 0; i < 5000; i++)
      opened.desk.answer({ kind: "leaseGrant", lease: String(100 + i), ttlSeconds: 1 + (i % 50) });
    const startMs = opened.clock.ms;
    for (let s = 0; s <= 50; s++) {
      opened.clock.ms = startMs + s * 1000;
      while (opened.desk.expireLeases());
      expect(opened.desk.leases.size).toBe(5000 - s * 100);
    }
  });
});
