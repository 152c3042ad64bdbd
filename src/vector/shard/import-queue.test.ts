import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { NodeSql } from "../../../test/unit/storage/node-sql.ts";
import { createKernels } from "../../storage/kernels.ts";
import { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import type { ImportRow, VectorAnswer, VectorRequest } from "../../wire/vector.ts";
import { createVectorCore } from "../kernels.ts";
import type { ShownImport } from "./import-queue.ts";
import { MAX_IMPORT_ERRORS, MAX_WAITING_IMPORTS, STAGED_IMPORT_MS } from "./limits.ts";
import { ShardDesk } from "./shard-desk.ts";

const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const vectorModule = new WebAssembly.Module(readFileSync("dist/wasm/vector.wasm"));
const DIMENSION = 64;

function openDesk() {
  const sql = new NodeSql();
  for (const statements of VECTOR_MIGRATIONS) sql.database.exec(statements);
  const clock = { ms: 1_000_000 };
  const open = (): ShardDesk =>
    new ShardDesk({
      sql,
      blobs: new SqliteBlobStore(sql),
      crc32c: (bytes, seed) => kernels.crc32c(bytes, seed),
      core: createVectorCore(vectorModule, { budgetBytes: 64 * 1024 * 1024 }),
      config: {
        ...{ dimension: DIMENSION, metric: "euclidean", durability: "sync" },
        indexes: [{ name: "default", kind: "FLAT", quantizer: "int8", effort: {} }],
      },
      name: "v1/default/db~1/0",
      random: (count) => crypto.getRandomValues(new Uint8Array(count)),
      now: () => clock.ms,
      onMissing: () => undefined,
    });
  const opened = {
    sql,
    clock,
    desk: open(),
    ask(request: VectorRequest): VectorAnswer {
      const { answer } = opened.desk.run({ request });
      opened.desk.store.endTurn();
      sql.endTurn();
      return answer;
    },
    jobs(request: VectorRequest = { kind: "imports" }): readonly ShownImport[] {
      const answer = opened.ask(request);
      if (answer.kind !== "status") throw new Error(JSON.stringify(answer));
      return JSON.parse(answer.status) as ShownImport[];
    },
    count: () => opened.ask({ kind: "count" }),
    crash(): void {
      sql.crash();
      opened.desk = open();
      sql.endTurn();
    },
  };
  return opened;
}

const row = (index: number, id = `r${index}`, length = DIMENSION): ImportRow => ({
  index,
  row: { id, values: new Uint8Array(new Float32Array(length).fill(index).buffer), metadata: new Uint8Array(0) },
});
const rows = (from: number, count: number): readonly ImportRow[] =>
  Array.from({ length: count }, (_, at) => row(from + at));
const stage = (job: string, part: number, some: readonly ImportRow[], bodyHash = "h"): VectorRequest => ({
  ...{ kind: "importStage", job, bodyHash, part, rows: some, refused: [] },
});

describe("imports of a shard", () => {
  it("[VE-220][VE-221] every row is applied once, whatever turn a crash comes in, and parts that come again change nothing", () => {
    for (const crashAt of [0, 1, 2, 3, 5]) {
      const opened = openDesk();
      opened.jobs(stage("a", 0, rows(0, 2000)));
      opened.jobs(stage("a", 1, rows(2000, 1000)));
      opened.jobs(stage("a", 0, rows(0, 2000)));
      expect(opened.jobs()).toMatchObject([{ state: "staged", rows: 3000, stored: 0 }]);
      opened.jobs({ kind: "importStart", job: "a", parts: 2 });
      for (let turn = 0; turn < crashAt; turn++) {
        opened.desk.importNext();
        opened.sql.endTurn();
      }
      // A turn whose commit is lost.
      opened.desk.importNext();
      opened.crash();
      const [before] = opened.jobs();
      expect(opened.count()).toMatchObject({ count: before!.stored, revision: crashAt });
      while (opened.desk.importNext()) opened.sql.endTurn();
      expect(opened.jobs()).toMatchObject([{ state: "done", rows: 3000, stored: 3000, failed: 0 }]);
      expect(opened.count()).toMatchObject({ count: 3000 });
      // Each version is the first: no row was applied twice.
      const answer = opened.ask({ kind: "get", ids: ["r0", "r1999", "r2999"], shown: {} });
      expect(answer).toMatchObject({
        rows: [{ stamp: { version: 1 } }, { stamp: { version: 1 } }, { stamp: { version: 1 } }],
      });
      opened.jobs(stage("a", 0, rows(0, 2000)));
      expect(opened.jobs({ kind: "importStart", job: "a", parts: 2 })).toMatchObject([{ state: "done" }]);
      expect([...opened.sql.exec("SELECT id FROM vector_import_rows")]).toEqual([]);
    }
  });

  it("[VE-222] a row that cannot be stored is told by its place and stops no other; kept errors are bounded", () => {
    const opened = openDesk();
    const bad = Array.from({ length: 150 }, (_, at) => row(at * 2, `bad${at}`, 3));
    opened.jobs(stage("a", 0, [...bad, ...rows(1000, 50)]));
    opened.jobs({ kind: "importStart", job: "a", parts: 1 });
    while (opened.desk.importNext());
    const [job] = opened.jobs();
    expect(job).toMatchObject({ state: "done", stored: 50, failed: 150 });
    expect(job!.errors).toHaveLength(MAX_IMPORT_ERRORS);
    expect(job!.errors[3]).toEqual({
      ...{ index: 6, id: "bad3", code: "invalidRequest" },
      message: "vectors[6].values has 3 numbers; the database has vectorDimension 64",
    });
  });

  it("[VE-223] the queue is bounded; what is refused is not there; what was not sent whole is not applied, and forgotten", () => {
    const opened = openDesk();
    for (let at = 0; at < MAX_WAITING_IMPORTS; at++) opened.jobs(stage(`j${at}`, 0, rows(0, 1)));
    expect(opened.ask(stage("more", 0, rows(0, 1)))).toMatchObject({ kind: "error", code: "overloaded" });
    expect(opened.ask({ kind: "importStart", job: "more", parts: 1 })).toMatchObject({ code: "unavailable" });
    expect(opened.ask({ kind: "importStart", job: "j0", parts: 2 })).toMatchObject({ code: "unavailable" });
    expect(opened.ask(stage("j0", 1, rows(0, 1), "other"))).toMatchObject({ code: "idempotencyKeyReused" });
    expect(opened.desk.importNext()).toBe(false);
    opened.clock.ms += STAGED_IMPORT_MS + 1;
    expect(opened.jobs(stage("more", 0, rows(0, 1)))).toMatchObject([{ job: "more", state: "staged" }]);
    expect(opened.jobs()).toHaveLength(1);
  });

  it("[VE-224] a cancelled one applies no more rows, and what was applied stays; damaged rows end it", () => {
    const opened = openDesk();
    for (const job of ["a", "b"]) {
      opened.jobs(stage(job, 0, rows(job === "a" ? 0 : 5000, 3000)));
      opened.jobs({ kind: "importStart", job, parts: 1 });
    }
    opened.desk.importNext();
    opened.jobs({ kind: "importCancel", job: "a" });
    const stored = opened.jobs({ kind: "imports", job: "a" })[0]!.stored;
    expect(stored).toBeGreaterThan(0);
    const [piece] = [
      ...opened.sql.exec<{ id: number }>("SELECT id FROM vector_import_rows ORDER BY chunk LIMIT 1 OFFSET 1"),
    ];
    void [...opened.sql.exec("UPDATE vector_import_rows SET bytes = zeroblob(9) WHERE id = ?", piece!.id)];
    while (opened.desk.importNext());
    expect(opened.jobs()).toMatchObject([
      { job: "b", state: "failed", errors: [{ code: "dataCorrupt" }] },
      { job: "a", state: "cancelled", stored },
    ]);
    expect(opened.count()).toMatchObject({ count: stored + opened.jobs({ kind: "imports", job: "b" })[0]!.stored });
    expect(stored).toBeLessThan(3000);
  });
});
