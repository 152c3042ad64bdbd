// Imports and exports of vectors against a database in memory that can fail: resuming, order, write ids, whole files, verification.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { NewVector, Vectors } from "../../client/index.ts";
import { diskFile } from "./disk-file.ts";
import { exportVectors } from "./export.ts";
import { formatOf, readRows } from "./formats.ts";
import { importVectors } from "./import.ts";
import { idDigest, RowDigests } from "./row-digests.ts";
import { isItself, verifyVectors } from "./verify.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "jade-vectors-"));
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true });
});

interface Row {
  readonly values: Float32Array;
  readonly metadataJson: string | undefined;
}

/** Applies each write id once; fails at the n-th batch or page, before or after it took it. */
class Memory {
  readonly rows = new Map<string, Row>();
  readonly applied = new Set<string>();
  /** Write ids. */
  readonly sent: string[] = [];
  calls = 0;
  failAt = Number.POSITIVE_INFINITY;
  appliesBeforeFailing = false;
  delayMs = () => Math.random() * 3;
  #fail() {
    if (++this.calls >= this.failAt) throw new Error("the server went away");
  }
  async upsertChunk(vectors: readonly NewVector[], { writeId }: { writeId: string }) {
    await new Promise((resolve) => setTimeout(resolve, this.delayMs()));
    if (!this.appliesBeforeFailing) this.#fail();
    this.sent.push(writeId);
    if (!this.applied.has(writeId))
      for (const { id, values, metadataJson } of vectors)
        if (id !== "bad") this.rows.set(id!, { values: Float32Array.from(values), metadataJson });
    this.applied.add(writeId);
    if (this.appliesBeforeFailing) this.#fail();
    const error = { code: "invalidRequest", message: "values are zero", details: {} };
    const results = vectors.map(({ id }) =>
      id === "bad" ? { ok: false, id, error } : { ok: true, id, version: 1, revision: 1 },
    );
    return { stored: 0, failed: results.filter(({ ok }) => !ok).length, results };
  }
  async page({ cursor = "0", limit = 2 }: { cursor?: string; limit?: number }) {
    this.#fail();
    const start = Number(cursor);
    const step = Math.min(limit, 2);
    const items = [...this.rows]
      .slice(start, start + step)
      .map(([id, row]) => ({ id, ...row, metadataJson: row.metadataJson ?? "{}" }));
    return { items, cursor: start + step >= this.rows.size ? null : String(start + step) };
  }
  async *list() {
    for (const [id, row] of this.rows) yield { id, ...row };
  }
  async count() {
    return this.rows.size;
  }
  async search({ vector }: { vector: Float32Array }) {
    const distance = (row: Row) => Math.hypot(...row.values.map((value, at) => value - vector[at]!));
    const [nearest] = [...this.rows]
      .map(([id, row]) => ({ id, score: distance(row) }))
      .sort((a, b) => a.score - b.score);
    return { results: nearest ? [nearest] : [] };
  }
  async searchMany(queries: readonly { vector: Float32Array }[]) {
    return { searches: await Promise.all(queries.map((query) => this.search(query))) };
  }
  get vectors(): Vectors {
    return this as unknown as Vectors;
  }
}

const line = (id: string, value: number) => `{"id":"${id}","values":[${value},1],"metadata":{"v": ${value}.0}}\n`;

function importOf(memory: Memory, name: string, more: object = {}) {
  const file = diskFile(join(directory, name));
  const format = formatOf(name);
  const common = { vectors: memory.vectors, target: "t", file, format, read: {} };
  return importVectors({ ...common, batchRows: 3, concurrency: 2, restart: false, ...more });
}

describe("import of texts", () => {
  const texts = (memory: Memory) => {
    const sent: string[] = [];
    const upsertTexts = async (rows: readonly { id: string; text: string; metadataJson?: string }[]) => {
      if (++memory.calls === memory.failAt) throw new Error("the server went away");
      const results = rows.map(({ id, text, metadataJson }) => {
        const error = { code: "invalidRequest", message: "has no word that the model knows" };
        if (text === "zzz") return { ok: false, id, error };
        sent.push(`${id} ${text} ${metadataJson}`);
        return { ok: true, id };
      });
      return { results, failed: results.filter(({ ok }) => !ok).length };
    };
    return { sent, vectors: Object.assign(memory, { upsertTexts }).vectors };
  };

  it("[EM-64] rows of JSONL and CSV files become vectors of their texts, which stay in the metadata; it goes on after a failure", async () => {
    const rows = Array.from(
      { length: 10 },
      (_, at) => `${JSON.stringify({ id: `r${at}`, body: `text, ${at}`, n: at })}\n`,
    );
    writeFileSync(join(directory, "t.jsonl"), rows.join(""));
    writeFileSync(
      join(directory, "t.csv"),
      `id,body,n\n${rows.map((_, at) => `r${at},"text, ${at}",${at}\n`).join("")}`,
    );
    for (const name of ["t.jsonl", "t.csv"]) {
      const memory = Object.assign(new Memory(), { failAt: 3 });
      const { sent, vectors } = texts(memory);
      const options = { vectors, read: { textColumn: "body" }, concurrency: 1 };
      await expect(importOf(memory, name, options)).rejects.toThrow("went away");
      expect(sent).toHaveLength(6);
      expect(await importOf(memory, name, options)).toBe(10);
      expect(sent).toEqual(rows.map((_, at) => `r${at} text, ${at} {"body":"text, ${at}","n":${at}}`));
    }
  });

  it("[EM-64] a text without a vector stops the import at its row, or is left out and told; a row without a text is refused", async () => {
    const lines = ["tea", "zzz", "cake"].map((body, at) => `${JSON.stringify({ id: at, body })}\n`);
    writeFileSync(join(directory, "t.jsonl"), lines.join(""));
    const memory = new Memory();
    const { sent, vectors } = texts(memory);
    const options = { vectors, read: { textColumn: "body" } };
    await expect(importOf(memory, "t.jsonl", options)).rejects.toThrow('line 2, id "1": invalidRequest: has no word');
    const told: object[] = [];
    expect(await importOf(memory, "t.jsonl", { ...options, onRefused: (one: object) => void told.push(one) })).toBe(3);
    expect(told).toEqual([{ place: "line 2", id: "1", why: "has no word that the model knows" }]);
    expect(sent.map((line) => line.slice(0, 5))).toEqual(["0 tea", "2 cak", "0 tea", "2 cak"]);
    writeFileSync(join(directory, "u.jsonl"), '{"id":"a","body":7}\n');
    await expect(importOf(memory, "u.jsonl", options)).rejects.toThrow('line 1: "body" has no text, but 7');
    writeFileSync(join(directory, "u.csv"), "id,n\na,1\n");
    await expect(importOf(memory, "u.csv", options)).rejects.toThrow(
      'has no column "body"; --text-column names another',
    );
  });
});

describe("import", () => {
  it.each([false, true])(
    "[VE-174] goes on after a failure and applies each row once (answers lost: %s)",
    async (appliesBeforeFailing) => {
      writeFileSync(
        join(directory, "a.jsonl"),
        Array.from({ length: 20 }, (_, at) => line(`v${at % 15}`, at)).join(""),
      );
      const memory = Object.assign(new Memory(), { appliesBeforeFailing, delayMs: () => 1 });
      for (let attempt = 0; ; attempt++) {
        memory.calls = 0;
        memory.failAt = attempt < 4 ? 3 : Number.POSITIVE_INFINITY;
        const done = await importOf(memory, "a.jsonl").catch((error: Error) => error.message);
        if (done === 20) break;
        expect([done, attempt < 4]).toEqual(["the server went away", true]);
        expect(existsSync(join(directory, "a.jsonl.jade-import-vectors"))).toBe(true);
      }
      expect(memory.rows.size).toBe(15);
      // Of rows with one id the last one is there.
      expect([0, 4, 5, 14].map((at) => memory.rows.get(`v${at}`)!.values[0])).toEqual([15, 19, 5, 14]);
      expect(memory.rows.get("v0")!.metadataJson).toBe('{"v": 15.0}');
      expect(memory.applied.size).toBe(Math.ceil(20 / 3));
      // What was acknowledged is not sent again.
      expect(memory.sent.filter((writeId) => writeId === memory.sent[0])).toHaveLength(1);
      expect(existsSync(join(directory, "a.jsonl.jade-import-vectors"))).toBe(false);
    },
  );

  it("[VE-174] writes rows of one id in their order, though later requests are faster", async () => {
    writeFileSync(
      join(directory, "a.jsonl"),
      [1, 2, 3, 4].map((value) => line("a", value) + line(`b${value}`, value)).join(""),
    );
    const memory = new Memory();
    let delayMs = 50;
    memory.delayMs = () => {
      delayMs /= 2;
      return delayMs;
    };
    await importOf(memory, "a.jsonl", { batchRows: 1, concurrency: 4 });
    expect([memory.rows.get("a")!.values[0], memory.rows.size]).toEqual([4, 5]);
  });

  it("[VE-174] refuses to go on with a changed file or to another database, unless it is told to begin anew", async () => {
    writeFileSync(join(directory, "a.jsonl"), line("a", 1) + line("b", 2));
    const memory = Object.assign(new Memory(), { failAt: 1 });
    await expect(importOf(memory, "a.jsonl")).rejects.toThrow("the server went away");
    await expect(importOf(memory, "a.jsonl", { target: "u" })).rejects.toThrow("went to t, not u");
    writeFileSync(join(directory, "a.jsonl"), line("a", 7));
    await expect(importOf(memory, "a.jsonl")).rejects.toThrow("changed since its import stopped at row 0");
    memory.failAt = Number.POSITIVE_INFINITY;
    expect(await importOf(memory, "a.jsonl", { restart: true })).toBe(1);
  });

  it("[VE-171] stops at a row that the server refuses, and at one that is malformed, and says where it stands", async () => {
    writeFileSync(join(directory, "a.jsonl"), `${line("a", 1)}\n${line("bad", 0)}`);
    await expect(importOf(new Memory(), "a.jsonl")).rejects.toThrow(
      /a\.jsonl line 3, id "bad": invalidRequest: values are zero$/,
    );
    writeFileSync(join(directory, "b.jsonl"), `${line("a", 1)}{`);
    const memory = new Memory();
    await expect(importOf(memory, "b.jsonl", { batchRows: 1 })).rejects.toThrow(/b\.jsonl line 2: not JSON/);
    expect(memory.rows.size).toBe(1);
  });
});

describe("export", () => {
  it.each(["jsonl", "csv", "fvecs", "bvecs", "npy", "parquet"])(
    "[VE-175] goes on after a failure; the .%s file is whole",
    async (extension) => {
      const memory = new Memory();
      for (let at = 0; at < 9; at++)
        memory.rows.set(`v${at}`, {
          values: Float32Array.of(at, 200),
          metadataJson: at % 2 ? `{"at": ${at}}` : undefined,
        });
      const out = join(directory, `out.${extension}`);
      const format = formatOf(out);
      const ask = { vectors: memory.vectors, target: "t", file: out, format, dimension: 2, restart: false };
      memory.failAt = 4;
      await expect(exportVectors(ask)).rejects.toThrow("the server went away");
      if (extension === "parquet") expect(existsSync(out)).toBe(false);
      else {
        // What was written behind the last durable page is cut off.
        writeFileSync(out, "torn".repeat(500), { flag: "a" });
        await expect(exportVectors({ ...ask, target: "u" })).rejects.toThrow("read from t, not u");
      }
      Object.assign(memory, { failAt: Number.POSITIVE_INFINITY, calls: 0 });
      expect(await exportVectors(ask)).toBe(9);
      // Three pages were durable; a Parquet file begins anew.
      expect(memory.calls).toBe(extension === "parquet" ? 5 : 2);
      const read = { sidecar: existsSync(`${out}.rows.jsonl`) ? diskFile(`${out}.rows.jsonl`) : undefined };
      const back = [];
      for await (const { id, values, metadata } of readRows(diskFile(out), format, read))
        back.push([id, [...values], metadata]);
      expect(back).toEqual([...memory.rows].map(([id, { values, metadataJson }]) => [id, [...values], metadataJson]));
      expect(existsSync(`${out}.jade-export-vectors`)).toBe(false);
      const check = {
        vectors: memory.vectors,
        metric: "euclidean",
        file: diskFile(out),
        format,
        read,
        isWhole: true,
      } as const;
      expect(await verifyVectors(check)).toEqual({ verified: 9, count: 9, selfSearch: "9 of 9" });
    },
  );

  it("tells which vector a .bvecs file cannot hold", async () => {
    const memory = new Memory();
    memory.rows.set("a", { values: Float32Array.of(0.5), metadataJson: undefined });
    const ask = {
      vectors: memory.vectors,
      target: "t",
      file: join(directory, "o.bvecs"),
      format: "bvecs",
      dimension: 1,
      restart: false,
    } as const;
    await expect(exportVectors(ask)).rejects.toThrow(
      'vector "a": value 0 is 0.5, a .bvecs file holds whole numbers 0 to 255',
    );
  });
});

describe("verify", () => {
  it("[VE-176] tells what is missing, what differs, what is more, and what no search finds", async () => {
    writeFileSync(join(directory, "a.jsonl"), line("a", 5) + line("b", 2) + line("a", 1));
    const memory = new Memory();
    await importOf(memory, "a.jsonl");
    const file = diskFile(join(directory, "a.jsonl"));
    const verify = (more: object = {}) =>
      verifyVectors({
        vectors: memory.vectors,
        metric: "euclidean",
        file,
        format: "jsonl",
        read: {},
        isWhole: false,
        ...more,
      });
    expect(await verify()).toMatchObject({ verified: 2, count: 2 });
    const held = memory.rows.get("a")!;
    memory.rows.set("c", held);
    expect(await verify()).toMatchObject({ verified: 2, count: 3 });
    await expect(verify({ isWhole: true })).rejects.toThrow(
      '0 are missing, 0 differ, 1 are not in the file; for example "c"',
    );
    for (const other of [
      { ...held, values: Float32Array.of(1, 1.0000001) },
      { ...held, metadataJson: '{"v":1.0}' },
    ]) {
      memory.rows.set("a", other);
      await expect(verify()).rejects.toThrow(
        'of 2 vectors 0 are missing, 1 differ, 1 are not in the file; for example "a"',
      );
    }
    memory.rows.delete("a");
    await expect(verify()).rejects.toThrow("of 2 vectors 1 are missing");
    memory.rows.set("a", held);
    memory.search = async () => ({ results: [{ id: "b", score: 9 }] });
    await expect(verify()).rejects.toThrow(/searches for \d vectors themselves found 0; not, for example, "[ab]"/);
  });

  it("[VE-176] judges a search by the metric: what is at least as near as the vector to itself", () => {
    const values = Float32Array.of(3, 4);
    expect([
      isItself("cosine", values, 0.9999),
      isItself("cosine", values, 0.9),
      isItself("cosine", values, undefined),
    ]).toEqual([true, false, false]);
    expect([isItself("dot", values, 30), isItself("dot", values, 24)]).toEqual([true, false]);
    expect([isItself("euclidean", values, 0.0001), isItself("euclidean", values, 0.1)]).toEqual([true, false]);
  });

  it("keeps digests through growth, the last of an id", () => {
    const digests = new RowDigests();
    for (let at = 0; at < 5000; at++) digests.set(idDigest(`v${at % 4000}`), BigInt(at + 1));
    expect(digests.size).toBe(4000);
    expect([0, 999, 1000, 3999].map((at) => digests.get(idDigest(`v${at}`)))).toEqual([4001n, 5000n, 1001n, 4000n]);
    expect(digests.get(idDigest("none"))).toBeUndefined();
    expect([digests.see(idDigest("v1")), digests.see(idDigest("v1"))]).toEqual([true, false]);
  });
});
