// What a vector database's state refuses, decided by the tenant's object.
import { expect, it } from "vitest";
import { refusedChange, reshardOf } from "../../../objects/database-tasks.ts";
import type { DatabaseRecord } from "../../../src/vector/database/record.ts";
import { begunReshard } from "../../../src/vector/database/resharding.ts";

const sharding = { strategy: "hash", numShards: 2 } as const;
const record = { sharding, replication: { factor: 1 }, retentionPolicy: null } as unknown as DatabaseRecord;
const archiving = { retentionPolicy: { maxVectors: 3, archiveOnExpire: true } };

it("[VE-295] rows that expire are archived only while no shard is about to go, and no shard goes while they are", () => {
  const moving = { ...record, sharding: begunReshard(sharding, 1) };
  const anew = { ...record, reembedding: { state: "running" } } as unknown as DatabaseRecord;
  expect(refusedChange(record, archiving)).toBeUndefined();
  for (const busy of [moving, anew]) {
    expect(refusedChange(busy, archiving)).toMatchObject({ ok: false, code: "conflict" });
    expect(refusedChange(busy, { retentionPolicy: { maxVectors: 3 } })).toBeUndefined();
  }
  expect(reshardOf(record, 1).ok).toBe(true);
  expect(reshardOf({ ...record, ...archiving }, 1)).toMatchObject({ ok: false, code: "conflict" });
});
