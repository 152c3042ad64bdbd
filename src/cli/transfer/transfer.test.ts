// Import and export against a client in memory: order, resuming, malformed files, whole pages.
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { JadeClient, Page, WriteOptions } from "../../client/index.ts";
import type { ExportedEntry } from "../../client/key-value-export.ts";
import { exportFile } from "./export.ts";
import { importFile, Watermark } from "./import.ts";
import { parseEntry, readLines } from "./jsonl.ts";
import { verifyFile } from "./verify.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "jade-transfer-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A store that applies each write id once and can fail at the n-th put. */
function fakeClient(failAt = Number.POSITIVE_INFINITY) {
  const values = new Map<string, string>();
  const applied = new Map<string, boolean>();
  const puts: { key: string; json: string; options: WriteOptions }[] = [];
  const kv = {
    async putRaw(key: string, json: string, options: WriteOptions) {
      puts.push({ key, json, options });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
      if (puts.length >= failAt) throw new Error("the server went away");
      if (!applied.has(options.writeId!)) values.set(key, json);
      applied.set(options.writeId!, true);
      return { key, vectorClock: {} };
    },
    async getRaw(key: string) {
      const value = values.get(key);
      return { found: value !== undefined, key, value, vectorClock: {}, conflict: false, siblings: [] };
    },
    async exportPage({ cursor, limit = 2 }: { cursor?: string; limit?: number }): Promise<Page<ExportedEntry>> {
      const start = Number(cursor ?? 0);
      const entries = [...values].slice(start, start + limit);
      const next = start + limit >= values.size ? null : String(start + limit);
      return { items: entries.map(([key, json]) => ({ key, json, vectorClock: {} })), cursor: next };
    },
  };
  return { client: { kv } as unknown as JadeClient, values, puts };
}

const options = { url: "http://db", concurrency: 8, restart: false };

describe("jsonl", () => {
  it("reads lines with their end offsets, a last one without a line end, and goes on from any of them", async () => {
    const file = join(directory, "a");
    writeFileSync(file, "ä\n\nc");
    const all = [];
    for await (const line of readLines(file)) all.push(line);
    expect(all).toEqual([
      { text: "ä", number: 1, endOffset: 3 },
      { text: "", number: 2, endOffset: 4 },
      { text: "c", number: 3, endOffset: 5 },
    ]);
    const rest = [];
    for await (const line of readLines(file, { offset: 4, lineNumber: 2 })) rest.push(line);
    expect(rest).toEqual(all.slice(2));
  });

  it("keeps the value's exact text and names what a line lacks", () => {
    const line = (text: string) => ({ text, number: 7, endOffset: 0 });
    expect(parseEntry("f", line('{"value": {"n":1.0} ,"key":"a"}'))).toEqual({ key: "a", json: '{"n":1.0}' });
    expect(() => parseEntry("f", line('{"key":"a"}'))).toThrow('f line 7: has no "value"');
    expect(() => parseEntry("f", line("{"))).toThrow("f line 7: not JSON");
  });

  it("refuses lines that are not UTF-8, with their number", async () => {
    const file = join(directory, "b");
    writeFileSync(file, Buffer.from([0x61, 10, 0xff, 10]));
    await expect(
      (async () => {
        for await (const _ of readLines(file));
      })(),
    ).rejects.toThrow("line 2: not valid UTF-8");
  });
});

describe("import", () => {
  it("moves its mark only over acknowledged lines", () => {
    const mark = new Watermark(0, 0);
    mark.finish({ text: "", number: 2, endOffset: 20 });
    expect([mark.lines, mark.bytes]).toEqual([0, 0]);
    mark.finish({ text: "", number: 1, endOffset: 10 });
    expect([mark.lines, mark.bytes]).toEqual([2, 20]);
  });

  it("writes lines of one key in their order", async () => {
    const file = join(directory, "order.jsonl");
    writeFileSync(
      file,
      Array.from({ length: 50 }, (_, index) => `{"key":"k${index % 3}","value":${index}}`).join("\n"),
    );
    const { client, values } = fakeClient();
    expect(await importFile({ ...options, client, file })).toBe(50);
    expect([...values].sort()).toEqual([
      ["k0", "48"],
      ["k1", "49"],
      ["k2", "47"],
    ]);
    expect(existsSync(`${file}.jade-import`)).toBe(false);
    expect(await verifyFile({ client, file, concurrency: 4 })).toEqual({
      keys: 3,
      missing: [],
      different: [],
      conflicted: [],
    });
  });

  it("goes on after a failure with the same write ids, marking what may have been sent", async () => {
    const file = join(directory, "resume.jsonl");
    writeFileSync(file, Array.from({ length: 100 }, (_, index) => `{"key":"k${index}","value":${index}}`).join("\n"));
    const first = fakeClient(60);
    const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
    await expect(importFile({ ...options, client: first.client, file })).rejects.toThrow("went away");
    expect(told.mock.calls.flat()).toContainEqual(
      expect.stringMatching(/^stopped at .*resume\.jsonl line \d+, key "k\d+"$/),
    );
    told.mockRestore();
    // Writes that were under way end within 3 ms and may still move the mark.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { doneLines } = JSON.parse(readFileSync(`${file}.jade-import`, "utf8"));
    // How far it came depends on which of the writes under way a busy machine answered first.
    expect(doneLines).toBeGreaterThan(0);
    expect(doneLines).toBeLessThan(60);
    const second = fakeClient();
    expect(await importFile({ ...options, client: second.client, file })).toBe(100);
    const idOf = new Map(first.puts.map((put) => [put.key, put.options.writeId]));
    expect(first.puts[0]!.options.mayHaveBeenSent).toBe(false);
    expect(second.puts[0]!.key).toBe(`k${doneLines}`);
    expect(second.puts[0]!.options).toMatchObject({ mayHaveBeenSent: true, writeId: idOf.get(`k${doneLines}`) });
  });

  it("refuses to go on when the file changed, unless told to restart", async () => {
    const file = join(directory, "changed.jsonl");
    writeFileSync(file, '{"key":"a","value":1}\nnonsense\n');
    const { client } = fakeClient();
    await expect(importFile({ ...options, client, file })).rejects.toThrow("line 2: not JSON");
    writeFileSync(file, '{"key":"a","value":1}\n');
    appendFileSync(file, '{"key":"b","value":2}\n');
    await expect(importFile({ ...options, client, file })).rejects.toThrow("--restart");
    expect(await importFile({ ...options, client, file, restart: true })).toBe(2);
  });
});

describe("export", () => {
  it("goes on at its cursor and cuts off what was not durable", async () => {
    const { client, values } = fakeClient();
    for (let index = 0; index < 5; index++) values.set(`k${index}`, `${index}.0`);
    const file = join(directory, "out.jsonl");
    const line = (index: number) => `{"key":"k${index}","value":${index}.0}\n`;
    writeFileSync(file, `${line(0)}${line(1)}{"key":"k2","val`);
    const doneBytes = line(0).length * 2;
    const state = { kind: "export", url: "http://db", cursor: "2", doneBytes, doneLines: 2 };
    writeFileSync(`${file}.jade-export`, JSON.stringify(state));
    expect(await exportFile({ client, url: "http://db", file, pageSize: 2, restart: false })).toEqual({
      keys: 5,
      skipped: { ranges: [], keys: [] },
    });
    expect(readFileSync(file, "utf8")).toBe([0, 1, 2, 3, 4].map(line).join(""));
  });

  it("[RP-91] --skip-corrupt asks for it, and names once what several pages left out, over a resumed run too", async () => {
    const range = { nodeId: "n1", fromToken: "00", toToken: "ff" };
    const asked: unknown[] = [];
    let isBroken = true;
    const exportPage = async (ask: { cursor?: string }) => {
      asked.push(ask);
      if (ask.cursor === "1" && isBroken) throw new Error("the server went away");
      const item = (key: string) => ({ key, json: "1", vectorClock: {} });
      return ask.cursor === undefined
        ? { items: [item("a")], cursor: "1", skipped: { ranges: [range], keys: ["x"] } }
        : { items: [item("b")], cursor: null, skipped: { ranges: [range], keys: ["y"] } };
    };
    const client = { kv: { exportPage } } as unknown as JadeClient;
    const file = join(directory, "gaps.jsonl");
    const run = () => exportFile({ client, url: "http://db", file, pageSize: 1, restart: false, skipCorrupt: true });
    await expect(run()).rejects.toThrow("went away");
    isBroken = false;
    expect(await run()).toEqual({ keys: 2, skipped: { ranges: [range], keys: ["x", "y"] } });
    expect(asked).toContainEqual({ limit: 1, cursor: "1", onCorrupt: "skip" });
  });
});
