import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { NodeSql } from "../../../test/unit/storage/node-sql.ts";
import { createKernels } from "../../storage/kernels.ts";
import { CorruptSegment, type Directory } from "../segment/directory.ts";
import { Manifest } from "./manifest.ts";

const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);

/** As of a segment with so many blocks of values. */
function directoryOf(blockCount: number): Directory {
  const blocks = Array.from({ length: blockCount }, (_, at) => ({
    ...{ rawBytes: 6144, part: Math.floor(at / 85), offset: (at % 85) * 6144, storedBytes: 6144 },
    ...{ codec: 0 as const, crc: (at * 2_654_435_761) >>> 0, firstRow: at * 2 },
  }));
  const parts = Array.from({ length: Math.ceil(blockCount / 85) }, (_, at) => `blob-${at}`);
  const section = { name: "values", rawBytes: blockCount * 6144, blocks, parts };
  return { rowCount: blockCount * 2, dimension: 768, sections: new Map([["values", section]]) };
}

it("[VE-225] a directory of nine megabytes is stored in rows of a MiB, and comes back, replaced or whole", () => {
  const sql = new NodeSql();
  for (const statements of VECTOR_MIGRATIONS) sql.database.exec(statements);
  const manifest = new Manifest(sql, crc32c);
  const largest = (table: string, column: string): number =>
    Number([...sql.exec<{ n: number }>(`SELECT max(length(${column})) AS n FROM ${table}`)][0]!.n);
  const [large, small] = [directoryOf(300_000), directoryOf(3)];
  manifest.add(1, large);
  expect(largest("vector_segments", "directory")).toBe(1024 * 1024);
  expect(largest("vector_directory_parts", "bytes")).toBe(1024 * 1024);
  const read = () => new Manifest(sql, crc32c).segments()[0]!.directory.sections.get("values")!.blocks;
  expect(read()).toHaveLength(300_000);
  expect(read().at(-1)).toEqual(large.sections.get("values")!.blocks.at(-1));
  sql.exec("UPDATE vector_directory_parts SET part = 99 WHERE part = 2");
  expect(read).toThrow(CorruptSegment);
  manifest.replace(1, small);
  expect(read()).toEqual(small.sections.get("values")!.blocks);
  expect([...sql.exec("SELECT part FROM vector_directory_parts")]).toEqual([]);
});
