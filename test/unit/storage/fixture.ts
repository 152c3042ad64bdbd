// What every test of the engine needs: an engine over the Node stand-in, small limits, deterministic clock and randomness.
// Must not: be imported by production code.

import { seededWords } from "../../../scripts/lib/seeded.mjs";
import { type EngineOptions, openEngine } from "../../../src/storage/engine.ts";
import { referenceKernels } from "../../../src/storage/kernels.reference.ts";
import { type EngineLimits, SERVER_LIMITS } from "../../../src/storage/limits.ts";
import { SqliteBlobStore } from "../../../src/storage/sqlite-blob-store.ts";
import type { RepairableEngine, RowKey } from "../../../src/storage/types.ts";
import { NodeSql } from "./node-sql.ts";

/** Limits small enough that a few hundred rows pass through every stage. */
export const TINY_LIMITS: EngineLimits = {
  ...SERVER_LIMITS,
  keptMemtables: 0,
  memtableBytes: 8 * 1024,
  rowCacheBytes: 8 * 1024,
  blockCacheBytes: 16 * 1024,
  tableMetaCacheBytes: 16 * 1024,
  blockBytes: 512,
  tableBytes: 4 * 1024,
  seenFilterBytes: 64,
  sliceBytes: 2 * 1024,
  maxRuns: 5,
};

/** A stand-in for the ring's token: any even spread does here. */
export function rowKey(tenant: number, key: string): RowKey {
  let hi = 0x811c9dc5 ^ tenant;
  for (let i = 0; i < key.length; i++) hi = Math.imul(hi ^ key.charCodeAt(i), 0x01000193);
  hi = Math.imul(hi ^ (hi >>> 15), 0x2c1b3c6d);
  const lo = Math.imul(hi ^ (hi >>> 12), 0x297a2d39);
  return { token: { hi: hi >>> 0, lo: lo >>> 0 }, tenant, key };
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** A write id that differs in its last bytes. */
export function writeId(number: number): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(12, number);
  return id;
}

/** One object's disk and what runs on it; `reopen` is a start after a crash or a restart. */
export class Fixture {
  readonly sql = new NodeSql();
  readonly overrides: Partial<EngineOptions>;
  nowMs = 1_000_000;
  engine: RepairableEngine;

  constructor(overrides: Partial<EngineOptions> = {}) {
    this.overrides = overrides;
    this.engine = this.open();
  }

  open(): RepairableEngine {
    const random = seededWords(this.sql.database.prepare("SELECT 1").all().length + this.nowMs);
    this.engine = openEngine({
      sql: this.sql,
      blobs: new SqliteBlobStore(this.sql),
      kernels: referenceKernels,
      clock: () => this.nowMs,
      random: (count) => Uint8Array.from({ length: count }, () => random() & 0xff),
      limits: TINY_LIMITS,
      objectName: "object",
      ...this.overrides,
    });
    return this.engine;
  }

  /** The turn ends, the process starts again. */
  restart(): RepairableEngine {
    this.sql.endTurn();
    return this.open();
  }

  /** The process dies in the turn and starts again. */
  crash(): RepairableEngine {
    this.sql.crash();
    return this.open();
  }

  /** Commits and ends the turn. */
  commit(): void {
    this.engine.commit();
    this.sql.endTurn();
  }

  /** Runs maintenance until nothing is left; each slice is a turn. */
  async settle(): Promise<void> {
    for (let slices = 0; this.engine.maintenanceDue; slices++) {
      if (slices > 10_000) throw new Error("maintenance does not come to rest");
      await this.engine.runMaintenance();
      this.sql.endTurn();
    }
  }
}
