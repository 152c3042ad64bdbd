// A keyspace as etcd keeps it: the buckets of its bbolt file, as `etcdctl snapshot restore` and etcd itself read them.
// Guarantees: etcd that starts on it has the same keys, revisions, versions, leases and history that is not compacted. Must not: hold
// more than a page of records and a page of each level of the file's trees.
//
// `key`: revision (8 bytes, `_`, 8 bytes of the change's place in it, `t` behind it for a deletion) → mvccpb.KeyValue.
// `lease`: id → leasepb.Lease. `meta`: what was compacted. See etcd 3.4, mvcc/kvstore.go, mvcc/revision.go, lease/lessor.go.
import type { BinaryKey } from "../wire/config.ts";
import { BOLT_PAGE_BYTES, BoltWriter } from "./bolt.ts";
import { KeyValue } from "./messages.ts";
import { ProtobufWriter } from "./protobuf.ts";
import { id, int64, message } from "./schema.ts";

const Lease = message("leasepb.Lease", { id: id(1), ttl: int64(2), remainingTtl: int64(3) });
const TWO_32 = 2 ** 32;
const UNDERSCORE = 0x5f;
const TOMBSTONE = 0x74;
const REVISION_BYTES = 17;
const encoder = new TextEncoder();
/** In the order of their names; all are there in a file of etcd's. */
const BEFORE_KEYS = ["alarm", "auth", "authRoles", "authUsers", "cluster"] as const;
const AFTER_LEASES = ["members", "members_removed"] as const;

/** One change of a key. */
export interface LoggedChange {
  readonly type: "put" | "delete";
  readonly key: BinaryKey;
  readonly createRevision: number;
  readonly revision: number;
  readonly version: number;
  readonly lease: string;
  readonly value: Uint8Array;
}

export interface BoltSource {
  readonly compactedRevision: number;
  readonly leases: readonly { readonly id: string; readonly grantedTtlMs: number }[];
  /** The log's records in order, in pages; the same each time. */
  records(): AsyncIterable<readonly LoggedChange[]>;
}

function putInt64(bytes: Uint8Array, at: number, value: number): void {
  const view = new DataView(bytes.buffer);
  view.setUint32(at, Math.floor(value / TWO_32));
  view.setUint32(at + 4, value % TWO_32);
}

/** As a key of the bucket `key`, and as a value of `meta`. */
export function revisionBytes(main: number, sub: number, isTombstone = false): Uint8Array {
  const bytes = new Uint8Array(isTombstone ? REVISION_BYTES + 1 : REVISION_BYTES);
  putInt64(bytes, 0, main);
  bytes[8] = UNDERSCORE;
  putInt64(bytes, 9, sub);
  if (isTombstone) bytes[REVISION_BYTES] = TOMBSTONE;
  return bytes;
}

const protobuf = new ProtobufWriter(4096);

/** Rows of the bucket `key`: a change's place in its revision is counted. */
export class KeyRows {
  #revision = 0;
  #sub = 0;

  rowOf(record: LoggedChange): { readonly key: Uint8Array; readonly value: Uint8Array } {
    const { key, createRevision, revision: modRevision, version, lease, value, type } = record;
    this.#sub = modRevision === this.#revision ? this.#sub + 1 : 0;
    this.#revision = modRevision;
    const isTombstone = type === "delete";
    protobuf.reset(0);
    protobuf.message(KeyValue, isTombstone ? { key } : { key, createRevision, modRevision, version, value, lease });
    return { key: revisionBytes(modRevision, this.#sub, isTombstone), value: protobuf.take() };
  }
}

async function* filling(writer: BoltWriter, source: BoltSource): AsyncGenerator<void> {
  for (const name of BEFORE_KEYS) writer.endBucket(name);
  const rows = new KeyRows();
  for await (const page of source.records()) {
    for (const record of page) {
      const { key, value } = rows.rowOf(record);
      writer.add(key, value);
    }
    yield;
  }
  writer.endBucket("key");
  for (const { key, value } of leaseRows(source)) writer.add(key, value);
  writer.endBucket("lease");
  for (const name of AFTER_LEASES) writer.endBucket(name);
  writer.add(encoder.encode("consistent_index"), new Uint8Array(8));
  if (source.compactedRevision > 0) {
    const revision = revisionBytes(source.compactedRevision, 0);
    writer.add(encoder.encode("finishedCompactRev"), revision);
    writer.add(encoder.encode("scheduledCompactRev"), revision);
  }
  writer.endBucket("meta");
}

function leaseRows({ leases }: BoltSource) {
  const sorted = leases.map((lease) => ({ ...lease, number: BigInt(lease.id) }));
  sorted.sort((a, b) => (a.number < b.number ? -1 : 1));
  return sorted.map(({ id: lease, number, grantedTtlMs }) => {
    const key = new Uint8Array(8);
    new DataView(key.buffer).setBigUint64(0, number);
    protobuf.reset(0);
    protobuf.message(Lease, { id: lease, ttl: grantedTtlMs / 1000 });
    return { key, value: protobuf.take() };
  });
}

/** The file's size is known before its first piece. */
export interface BoltFile {
  readonly bytes: number;
  pieces(): AsyncGenerator<Uint8Array>;
}

/** Reads the source once for the file's layout; `pieces` reads it again. */
export async function boltFileOf(source: BoltSource): Promise<BoltFile> {
  const counting = new BoltWriter();
  for await (const _ of filling(counting, source));
  const { layout } = counting;
  return {
    bytes: layout.pageCount * BOLT_PAGE_BYTES,
    async *pieces() {
      let pages: Uint8Array[] = [];
      const writer = new BoltWriter({ layout, emit: (page) => pages.push(page) });
      for await (const _ of filling(writer, source)) {
        if (pages.length > 0) yield joined(pages);
        pages = [];
      }
      yield joined(pages);
      if (writer.layout.pageCount !== layout.pageCount) throw new Error("the state changed while it was read");
    },
  };
}

function joined(pages: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pages.reduce((sum, page) => sum + page.length, 0));
  let at = 0;
  for (const page of pages) {
    bytes.set(page, at);
    at += page.length;
  }
  return bytes;
}
