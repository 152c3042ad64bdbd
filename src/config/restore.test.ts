import { describe, expect, it } from "vitest";
import { Random } from "../../test/simulation/random.ts";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import { referenceKernels } from "../storage/kernels.reference.ts";
import type { ConfigRequest, RangeAnswer } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
import { DamagedSnapshot, SnapshotReader, SnapshotWriter } from "../wire/config-snapshot.ts";
import { ConfigRefusal } from "./failure.ts";
import { SNAPSHOT_IDLE_MS } from "./limits.ts";
import { Restore } from "./restore.ts";
import { readRecords } from "./snapshot-source.ts";

type Opened = ReturnType<typeof openDesk>;
const all: ConfigRequest = { kind: "range", ...prefixRange("") };
const MIB = 1024 * 1024;

function put(opened: Opened, key: string, value: Uint8Array = new Uint8Array([1]), lease = ""): void {
  opened.desk.answer({ kind: "put", key, value, lease });
}

const kvsOf = ({ desk }: Opened, revision = 0) =>
  (desk.answer({ ...all, revision } as ConfigRequest) as RangeAnswer).kvs;

function restoreOf({ sql, desk, clock }: Opened): Restore {
  const { store, keyspace } = desk;
  return new Restore({ sql, crc32c: referenceKernels.crc32c, store, keyspace, now: () => clock.ms });
}

/** All blocks; `between` runs between its pages. */
function take({ desk, clock }: Opened, between: () => void = () => undefined): Uint8Array[] {
  const writer = new SnapshotWriter();
  const { id, revision, term, compactedRevision, leases } = desk.snapshots.begin();
  const blocks = [writer.head({ revision, term, compactedRevision, takenAtMs: clock.ms, namespace: "n" })];
  if (leases.length > 0) blocks.push(writer.leases(leases));
  let after: string | undefined = "";
  while (after !== undefined) {
    between();
    const page = desk.snapshots.keys(id, after);
    if (page.count > 0) blocks.push(writer.keys(page.payload, page.count));
    after = page.next?.key;
  }
  desk.snapshots.end(id);
  blocks.push(writer.end());
  return blocks;
}

/** As the object does it; `stopAfter` blocks it dies. */
function restore(opened: Opened, blocks: readonly Uint8Array[], stopAfter = Number.POSITIVE_INFINITY): boolean {
  const restoring = restoreOf(opened);
  while (!restoring.sweep());
  const reader = new SnapshotReader();
  let count = 0;
  for (const bytes of blocks) {
    for (const block of reader.take(bytes)) {
      if (count++ >= stopAfter) {
        opened.restart();
        return false;
      }
      if (block.kind === "head") restoring.begin({ token: 7, revision: block.head.revision });
      else if (block.kind === "leases") restoring.leases(7, block.payload);
      else if (block.kind === "keys") restoring.keys(7, block.payload);
    }
  }
  restoring.finish(7, reader.finish(), 0);
  opened.restart();
  return true;
}

const bytesOf = (random: Random, count: number): Uint8Array =>
  Uint8Array.from({ length: count }, () => random.between(0, 255));

function randomWrite(opened: Opened, random: Random, leases: readonly string[]): void {
  if (random.between(0, 2) === 0) opened.desk.endTurn();
  const key = `k${random.between(0, 40)}`;
  const kind = random.between(0, 9);
  if (kind < 6) put(opened, key, bytesOf(random, random.between(0, 200)), random.between(0, 3) === 0 ? leases[0] : "");
  else if (kind < 8) opened.desk.answer({ kind: "deleteRange", key, rangeEnd: "" });
  else if (kind < 9) opened.desk.answer({ kind: "deleteRange", key, rangeEnd: "k4" });
  else {
    const success = ["a", "b", "c"].map(
      (name) => ({ kind: "put", key: `${key}/${name}`, value: bytesOf(random, 9) }) as const,
    );
    opened.desk.answer({ kind: "txn", compare: [], success, failure: [] });
  }
}

const SEEDS = Array.from({ length: 12 }, (_, index) => index + 1);

describe("snapshot and restore", () => {
  it.each(SEEDS)(
    "[CF-155] [CF-157] [CF-158] any history, writes and compactions meanwhile, deaths in between (seed %i)",
    (seed) => {
      const random = new Random(seed);
      const batches = { pendingRows: seed * 5, runRows: seed * 3 };
      const [from, to] = [openDesk({ batches }), openDesk({ batches })];
      from.desk.answer({ kind: "leaseGrant", lease: "5", ttlSeconds: 100 });
      for (let i = 0; i < 150; i++) randomWrite(from, random, ["5"]);
      if (seed % 3 === 0) from.desk.answer({ kind: "compact", revision: from.desk.keyspace.revision - 20 });
      const { revision } = from.desk.keyspace;
      const wanted = kvsOf(from);
      const blocks = take(from, () => {
        for (let i = 0; i < 20; i++) randomWrite(from, random, ["5"]);
        from.desk.answer({ kind: "compact", revision: from.desk.keyspace.revision });
        for (let i = 0; i < 5; i++) from.desk.compactStep();
      });
      for (let i = 0; i < random.between(0, 60); i++) randomWrite(to, random, [""]);
      // Of its own lease nothing may stay, the time when it was last kept alive neither.
      to.desk.answer({ kind: "leaseGrant", lease: "5", ttlSeconds: 5000 });
      to.clock.ms += 1000;
      to.desk.answer({ kind: "leaseKeepAlive", lease: "5" });
      const before = kvsOf(to);
      const ours = to.desk.keyspace.revision;
      for (let stop = 0; stop < blocks.length; stop++) expect(restore(to, blocks, stop)).toBe(false);
      expect(kvsOf(to)).toEqual(before);
      expect(restore(to, blocks)).toBe(true);
      expect(kvsOf(to)).toEqual(wanted);
      expect(to.desk.keyspace.keyCount).toBe(wanted.length);
      expect(to.desk.keyspace.livingBytes).toBe(to.desk.store.countBytes());
      const { keyspace } = to.desk;
      expect(keyspace.revision).toBe(Math.max(revision, ours) + 2);
      expect(keyspace.compactedRevision).toBe(keyspace.revision);
      expect(() => kvsOf(to, keyspace.revision - 1)).toThrow(ConfigRefusal);
      const { grantedTtlMs, deadlineMs } = to.desk.leases.get("5")!;
      expect([grantedTtlMs, deadlineMs - to.clock.ms - 100_000 <= 500]).toEqual([100_000, true]);
      expect(deadlineMs).toBeGreaterThanOrEqual(to.clock.ms + 100_000);
      // The log is in the order of revisions, as a snapshot of etcd's form needs it.
      const { id } = to.desk.snapshots.begin();
      const revisions = [...readRecords(to.desk.snapshots.records(id, 0).payload)].map(({ record }) => record.revision);
      expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
      expect(revisions).toHaveLength(wanted.length);
      // It goes on, is restored again, and what was replaced is swept.
      for (let i = 0; i < 30; i++) randomWrite(to, random, ["5"]);
      expect(restore(to, blocks)).toBe(true);
      expect(kvsOf(to)).toEqual(wanted);
      const sweeping = restoreOf(to);
      while (!sweeping.sweep());
      expect(sweeping.hasLeftovers).toBe(false);
      to.restart();
      expect(kvsOf(to)).toEqual(wanted);
    },
  );

  it("[CF-156] blocks that are missing, repeated, moved, or changed in any bit are found, whatever the pieces", () => {
    const from = openDesk();
    for (let i = 0; i < 3; i++) put(from, `k${i}`, new Uint8Array(MIB).fill(i));
    put(from, "last");
    const blocks = take(from);
    expect(blocks.length).toBeGreaterThan(4);
    const read = (parts: readonly Uint8Array[]): unknown => {
      const reader = new SnapshotReader();
      for (const part of parts) for (const _ of reader.take(part));
      return reader.finish();
    };
    const whole = Buffer.concat(blocks);
    for (const size of [1024, 65_536, 999_983])
      expect(
        read(
          Array.from({ length: Math.ceil(whole.length / size) }, (_, i) => whole.subarray(i * size, (i + 1) * size)),
        ),
      ).toMatchObject({
        keys: 4,
      });
    for (let at = 0; at < blocks.length; at++) {
      expect(() => read(blocks.toSpliced(at, 1)), `without ${at}`).toThrow(DamagedSnapshot);
      expect(() => read(blocks.toSpliced(at, 0, blocks[at]!)), `${at} twice`).toThrow(DamagedSnapshot);
      if (at > 0)
        expect(() => read(blocks.toSpliced(at - 1, 2, blocks[at]!, blocks[at - 1]!))).toThrow(DamagedSnapshot);
    }
    for (let at = 0; at < whole.length; at += 99_991) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 1 << (at % 8);
      expect(() => read([changed]), `byte ${at}`).toThrow(DamagedSnapshot);
    }
  });

  it("[CF-113] a page of a copy holds what a message can: values of 1 MiB come one or two at once", () => {
    const opened = openDesk();
    for (let i = 0; i < 40; i++) put(opened, `k${String(i).padStart(2, "0")}`, new Uint8Array(MIB - 100));
    let after = "";
    for (let pages = 0; ; pages++) {
      const { versions, isLast } = opened.desk.store.copyPage(after, opened.desk.keyspace.revision, MIB);
      expect(versions.reduce((sum, { stored }) => sum + stored!.length, 0)).toBeLessThan(3 * MIB);
      if (isLast) return expect(pages).toBeGreaterThanOrEqual(19);
      after = versions.at(-1)!.key;
    }
  });

  it("[CF-155] compaction waits for a reading, and no longer than it goes on; a reading that was given up says so", () => {
    const opened = openDesk();
    for (let i = 0; i < 10; i++) put(opened, "a");
    const { id } = opened.desk.snapshots.begin();
    opened.desk.answer({ kind: "compact", revision: opened.desk.keyspace.revision });
    opened.desk.compactStep();
    expect([...readRecords(opened.desk.snapshots.records(id, 0).payload)]).toHaveLength(10);
    opened.clock.ms += SNAPSHOT_IDLE_MS + 1;
    expect(opened.desk.mustCompact).toBe(true);
    opened.desk.compactStep();
    expect(opened.desk.store.log(1, 100)).toHaveLength(1);
    expect(() => opened.desk.snapshots.keys(id, "")).toThrow(/given up/);
  });
});
