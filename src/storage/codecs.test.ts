// Properties of the storage formats: what is written is read back; what is changed is refused, never read as something else.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { buildWasm } from "../../scripts/build-wasm.mjs";
import { mutated } from "../../test/unit/replication/arbitraries.ts";
import { NodeSql } from "../../test/unit/storage/node-sql.ts";
import { MalformedBytes } from "../wire/bytes.ts";
import { Block } from "./block.ts";
import { bloomMayHold } from "./bloom.ts";
import { CommitLog } from "./commit-log.ts";
import { referenceKernels } from "./kernels.reference.ts";
import { createKernels } from "./kernels.ts";
import { Memtable } from "./memtable.ts";
import {
  aim,
  compareRows,
  createProbe,
  decodeKey,
  rowHi,
  rowKeyBytes,
  rowLo,
  rowTenant,
  rowValue,
  writeKey,
} from "./row-format.ts";
import { TableBuilder } from "./table-builder.ts";
import { encodeTableMeta, TableMeta } from "./table-meta.ts";
import { CorruptLog, type Kernels, type RowKey } from "./types.ts";

const u32 = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff),
);
const key = fc.string({ unit: "binary", maxLength: 100 });
const rowKey: fc.Arbitrary<RowKey> = fc.record({
  token: fc.record({ hi: u32, lo: u32 }),
  tenant: u32,
  key,
});
const value = fc.uint8Array({ maxLength: 300 });
const entries = fc.uniqueArray(fc.record({ row: rowKey, value }), {
  minLength: 1,
  maxLength: 40,
  selector: ({ row }) => `${row.tenant}/${row.key}`,
});
const NOTHING = (): void => undefined;

/** A memtable's rows in order as one table. */
function tableOf(rows: readonly { row: RowKey; value: Uint8Array }[], kernels: Kernels) {
  const memtable = new Memtable(7);
  for (const each of rows) memtable.put(each.row, each.value, 0);
  const builder = new TableBuilder({ kernels, blockBytes: 400, bloomBitsPerRow: 10 });
  const order = memtable.ordered()!;
  for (let bucket = 0; bucket < order.bucketCount; bucket++) {
    for (const position of order.sorted(bucket, memtable.positionOf)) {
      builder.appendRow(memtable.arena.bufferAt(position), memtable.arena.offsetAt(position));
    }
  }
  return builder.finish();
}

let wasm: Kernels;
beforeAll(async () => {
  await buildWasm();
  wasm = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
});

describe("storage formats", () => {
  it("[ST-25] a table gives back each of its rows, in order, by its index, its bloom filter and its blocks", () => {
    fc.assert(
      fc.property(entries, (rows) => {
        const built = tableOf(rows, referenceKernels);
        const meta = new TableMeta(built.bytes.subarray(built.metaOffset, built.metaOffset + built.metaBytes), NOTHING);
        const blockAt = (index: number) => {
          const bytes = built.bytes.slice(meta.offsets[index]!, meta.offsets[index]! + meta.lengths[index]!);
          expect(referenceKernels.crc32c(bytes)).toBe(meta.crcs[index]);
          return new Block(bytes, NOTHING);
        };
        for (const { row, value: expected } of rows) {
          const probe = createProbe(row.key.length * 3);
          Object.assign(probe, { hi: row.token.hi, lo: row.token.lo, tenant: row.tenant });
          probe.keyBytes = writeKey(probe.key, 0, row.key);
          expect(bloomMayHold(meta.filter, meta.hashCount, probe.hi, probe.lo)).toBe(true);
          expect(meta.holdsTenant(row.tenant)).toBe(true);
          const block = blockAt(meta.blockFor(probe));
          const offset = block.find(probe);
          expect(offset).toBeGreaterThanOrEqual(0);
          expect(rowValue(block, offset)).toEqual(expected);
          expect(decodeKey(rowKeyBytes(block, offset))).toBe(row.key);
          expect([rowHi(block, offset), rowLo(block, offset), rowTenant(block, offset)]).toEqual([
            row.token.hi,
            row.token.lo,
            row.tenant,
          ]);
        }
        let count = 0;
        let last: { block: Block; offset: number } | undefined;
        for (let index = 0; index < meta.blockCount; index++) {
          const block = blockAt(index);
          for (let i = 0; i < block.rowCount; i++, count++) {
            const offset = block.offsetAt(i);
            if (last) expect(compareRows(last.block, last.offset, block, offset)).toBeLessThan(0);
            last = { block, offset };
          }
        }
        expect(count).toBe(rows.length);
      }),
      { numRuns: 200 },
    );
  });

  it("[ST-25] WASM and reference build the same table bytes", () => {
    fc.assert(
      fc.property(entries, (rows) => {
        const { bytes, ...rest } = tableOf(rows, wasm);
        const { bytes: expected, ...restExpected } = tableOf(rows, referenceKernels);
        expect(Buffer.compare(bytes, expected)).toBe(0);
        expect(rest).toEqual(restExpected);
      }),
      { numRuns: 100 },
    );
  });

  it("[ST-25] a table's index round-trips; changed, cut or grown bytes are refused or differ, and never throw anything else", () => {
    const content = fc.record({
      blocks: fc.array(
        fc.record({
          offset: u32,
          lengthBytes: u32,
          crc: u32,
          hi: u32,
          lo: u32,
          tenant: u32,
          key: fc.uint8Array({ maxLength: 40 }),
        }),
        { maxLength: 8 },
      ),
      hashCount: fc.integer({ min: 1, max: 16 }),
      filter: fc.uint8Array({ maxLength: 64 }),
      tenants: fc.uniqueArray(u32, { maxLength: 6 }).map((list) => list.sort((a, b) => a - b)),
    });
    fc.assert(
      fc.property(content, (made) => {
        const meta = new TableMeta(encodeTableMeta(made), NOTHING);
        expect([...meta.tenants]).toEqual(made.tenants);
        expect([meta.hashCount, meta.blockCount]).toEqual([made.hashCount, made.blocks.length]);
        expect(meta.filter).toEqual(made.filter);
        for (const [i, { offset, lengthBytes, crc, ...first }] of made.blocks.entries()) {
          expect([meta.offsets[i], meta.lengths[i], meta.crcs[i]]).toEqual([offset, lengthBytes, crc]);
          expect(meta.firstOf(i)).toEqual(first);
        }
      }),
    );
    fc.assert(
      fc.property(mutated(content.map(encodeTableMeta)), (bytes) => {
        try {
          new TableMeta(bytes, NOTHING);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytes);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("[ST-26] what a log group holds is replayed into the same memtable; a changed group is refused", () => {
    const writes = fc.array(fc.record({ row: rowKey, value }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(writes, fc.nat(), fc.integer({ min: 1, max: 255 }), (rows, at, change) => {
        const sql = new NodeSql();
        const log = new CommitLog(sql, referenceKernels);
        const memtable = new Memtable(7);
        for (const each of rows) {
          memtable.put(each.row, each.value, 0);
          log.append(memtable.arena.takeRegions(), 5);
        }
        const again = new Memtable(7);
        new CommitLog(sql, wasm).replay(0, ({ bytes }) => again.replay(bytes, () => false));
        const probe = createProbe(400);
        for (const { row } of rows) expect(again.get(aim(probe, row))).toEqual(memtable.get(aim(probe, row)));
        expect(again.rowCount).toBe(memtable.rowCount);
        sql.endTurn();
        const stored = sql.database.prepare("SELECT seq, bytes FROM storage_log").all() as {
          seq: number;
          bytes: Uint8Array;
        }[];
        const { seq, bytes } = stored[at % stored.length]!;
        bytes[at % bytes.length]! ^= change;
        sql.database.prepare("UPDATE storage_log SET bytes = ? WHERE seq = ?").run(bytes, seq);
        expect(() => new CommitLog(sql, wasm).replay(0, NOTHING)).toThrow(CorruptLog);
        sql.close();
      }),
      { numRuns: 60 },
    );
  });

  it("[ST-26] a group that is not rows is refused as malformed, whatever its bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        try {
          new Memtable(7).replay(bytes, () => false);
        } catch (error) {
          // A key that is not UTF-8 is the platform's TypeError; the group's CRC stands before both.
          expect(error instanceof MalformedBytes || error instanceof TypeError, String(error)).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("[ST-21] [ST-22] WASM and reference agree on any bytes, seeds, tokens and filter sizes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), u32, (bytes, seed) => {
        expect(wasm.crc32c(bytes, seed)).toBe(referenceKernels.crc32c(bytes, seed));
      }),
    );
    const pairs = fc.array(fc.tuple(u32, u32), { minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(
        pairs,
        fc.integer({ min: 8, max: 3000 }),
        fc.integer({ min: 1, max: 16 }),
        (list, filterBytes, hashCount) => {
          const tokens = Uint32Array.from(list.flat());
          const filter = wasm.bloomBuild(tokens, filterBytes, hashCount);
          expect(Buffer.compare(filter, referenceKernels.bloomBuild(tokens, filterBytes, hashCount))).toBe(0);
          for (const [hi, lo] of list) expect(bloomMayHold(filter, hashCount, hi, lo)).toBe(true);
        },
      ),
    );
  });

  it("every kernel that the WASM module exports has a twin", () => {
    const module = new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm"));
    const exported = WebAssembly.Module.exports(module).filter(
      ({ kind, name }) => kind === "function" && name !== "heapBase",
    );
    expect(exported.map(({ name }) => name).sort()).toEqual(Object.keys(referenceKernels).sort());
  });
});
