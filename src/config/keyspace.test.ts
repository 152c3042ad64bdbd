import { describe, expect, it, vi } from "vitest";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import type { ConfigRequest, PutRequest, RangeAnswer, TxnAnswer } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const put = (key: string, value: string, more: Partial<PutRequest> = {}): PutRequest => ({
  kind: "put",
  key,
  value: bytes(value),
  ...more,
});
const get = (key: string, revision = 0): ConfigRequest => ({ kind: "range", key, rangeEnd: "", revision });
const shown = (answer: RangeAnswer): readonly string[] =>
  answer.kvs.map(
    ({ key, modRevision, version, value }) => `${key}@${modRevision}v${version}=${new TextDecoder().decode(value)}`,
  );

describe("keyspace", () => {
  it("[CF-1] every change has the next revision; the first one is 2", () => {
    const { desk } = openDesk();
    expect(desk.keyspace.revision).toBe(1);
    expect(desk.answer(put("a", "1")).header.revision).toBe(2);
    expect(desk.answer(put("a", "2")).header.revision).toBe(3);
    expect(desk.answer({ kind: "deleteRange", key: "x", rangeEnd: "" }).header.revision).toBe(3);
    expect(shown(desk.keyspace.range(get("a") as never))).toEqual(["a@3v2=2"]);
  });

  it("[CF-2] a past revision is read as it was, after restarts too", () => {
    const opened = openDesk();
    opened.desk.answer(put("a", "1"));
    opened.desk.answer(put("b", "1"));
    opened.desk.answer(put("a", "2"));
    opened.desk.answer({ kind: "deleteRange", ...prefixRange("") });
    opened.desk.answer(put("a", "3"));
    for (let round = 0; round < 2; round++) {
      const at = (revision: number): readonly string[] =>
        shown(opened.desk.keyspace.range({ kind: "range", ...prefixRange(""), revision }));
      expect(at(2)).toEqual(["a@2v1=1"]);
      expect(at(3)).toEqual(["a@2v1=1", "b@3v1=1"]);
      expect(at(4)).toEqual(["a@4v2=2", "b@3v1=1"]);
      expect(at(5)).toEqual([]);
      expect(at(6)).toEqual(["a@6v1=3"]);
      opened.restart();
    }
  });

  it("[CF-247] a range that is bounded in bytes ends before the key that passes them, and reads no further", () => {
    const { desk } = openDesk({ cacheBytes: 0 });
    const value = "x".repeat(100_000);
    for (let i = 10; i < 50; i++) desk.answer(put(`k${i}`, value));
    const [single, many] = [vi.spyOn(desk.store, "valueOf"), vi.spyOn(desk.store, "scan")];
    const found: string[] = [];
    for (let key = "\0"; ; ) {
      single.mockClear();
      many.mockClear();
      const request = { kind: "range", key, rangeEnd: "\0", maxBytes: 450_000 } as const;
      const { kvs, more } = desk.keyspace.range(request);
      expect([kvs.length, more]).toEqual([4, found.length < 36]);
      const joined = many.mock.results.flatMap((result) => result.value as { stored?: Uint8Array }[]);
      expect(single.mock.calls.length + joined.filter(({ stored }) => stored).length).toBeLessThanOrEqual(6);
      found.push(...kvs.map((kv) => kv.key));
      if (!more) break;
      key = `${kvs.at(-1)!.key}\0`;
    }
    expect(found).toEqual(Array.from({ length: 40 }, (_, i) => `k${i + 10}`));
    const least = desk.keyspace.range({ kind: "range", ...prefixRange(""), maxBytes: 1 });
    expect([least.kvs.length, least.more]).toEqual([1, true]);
  });

  it("[CF-3] a transaction takes one branch, all of it under one revision", () => {
    const { desk } = openDesk();
    desk.answer(put("a", "1"));
    const txn = (operand: number): ConfigRequest => ({
      kind: "txn",
      compare: [{ key: "a", rangeEnd: "", target: "mod", result: "equal", operand }],
      success: [put("b", "x"), put("c", "y"), { kind: "range", ...prefixRange("") }],
      failure: [{ kind: "range", key: "a", rangeEnd: "" }],
    });
    const taken = desk.answer(txn(2)) as TxnAnswer & { header: { revision: number } };
    expect(taken.succeeded).toBe(true);
    expect(taken.header.revision).toBe(3);
    expect(shown(taken.responses[2] as RangeAnswer)).toEqual(["a@2v1=1", "b@3v1=x", "c@3v1=y"]);
    const refused = desk.answer(txn(9)) as TxnAnswer;
    expect(refused.succeeded).toBe(false);
    expect(desk.keyspace.revision).toBe(3);
  });

  it("[CF-4] what would answer more than a message holds is refused before anything is written", () => {
    const { desk } = openDesk();
    const mebibyte = "x".repeat(1024 * 1024);
    for (let i = 0; i < 15; i++) desk.answer(put(`k${10 + i}`, mebibyte));
    const all = { kind: "range", ...prefixRange("k"), limit: 15 } as const;
    const refused: readonly ConfigRequest[] = [
      { kind: "txn", compare: [], success: [put("z", "1"), all, all], failure: [] },
      {
        kind: "txn",
        compare: [],
        success: [all, { kind: "txn", compare: [], success: [all], failure: [] }],
        failure: [],
      },
      {
        ...{ kind: "txn", compare: [], failure: [] },
        success: [all, { kind: "deleteRange", ...prefixRange("k"), prevKv: true }],
      },
      {
        ...{ kind: "txn", compare: [], failure: [] },
        success: [...Array.from({ length: 15 }, (_, i) => put(`k${10 + i}`, "", { prevKv: true })), all],
      },
      {
        ...{ kind: "txn", compare: [], failure: [] },
        success: [
          ...Array.from({ length: 7 }, (_, i) => put(`k3${i}`, mebibyte)),
          { ...all, limit: 12 },
          { ...all, limit: 12 },
        ],
      },
    ];
    const each = (count: number): ConfigRequest => ({
      ...{ kind: "txn", compare: [], failure: [] },
      success: Array.from({ length: count }, (_, i) => ({ kind: "range", key: `k${10 + (i % 15)}`, rangeEnd: "" })),
    });
    expect(() => desk.answer(each(31))).toThrow(expect.objectContaining({ code: "payloadTooLarge" }));
    expect(desk.answer(each(29))).toMatchObject({ succeeded: true });
    const { revision } = desk.keyspace;
    for (const request of refused)
      expect(() => desk.answer(request)).toThrow(expect.objectContaining({ code: "payloadTooLarge" }));
    expect(desk.keyspace.revision).toBe(revision);
    for (let i = 0; i < 15; i++) desk.answer(put(`k${40 + i}`, mebibyte));
    const erase = { kind: "deleteRange", ...prefixRange("k"), prevKv: true } as const;
    expect(() => desk.answer(erase)).toThrow(expect.objectContaining({ code: "payloadTooLarge" }));
    expect(desk.answer({ ...erase, prevKv: false })).toMatchObject({ deleted: 30 });
    desk.answer(put("k1", mebibyte));
    const taken = desk.answer({
      kind: "txn",
      compare: [],
      success: [put("z", "1"), all, all],
      failure: [],
    }) as TxnAnswer;
    expect(taken.succeeded).toBe(true);
  });
});
