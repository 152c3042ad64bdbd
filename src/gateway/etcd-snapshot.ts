// etcd's Maintenance.Snapshot and hashes: a keyspace as etcd's own file, streamed, and what etcd would say of that file.
// Guarantees: bounded memory; the file is of one revision; its sha256 comes last, as etcd's does. Must not: read more than its caller may.
import { readRecords } from "../config/snapshot-source.ts";
import { type BoltSource, boltFileOf, KeyRows } from "../etcd/bolt-snapshot.ts";
import { etcdErrorOf } from "../etcd/errors.ts";
import { headerOf } from "../etcd/identity.ts";
import { jsonOf, messageOfJson } from "../etcd/json.ts";
import { EmptyRequest } from "../etcd/messages.ts";
import { type HashKvRequest, SnapshotResponse } from "../etcd/messages-service.ts";
import { crc32c } from "../wire/crc32c.ts";
import { apiHeaders } from "./answers.ts";
import type { Call } from "./call.ts";
import { publicErrorOf } from "./errors.ts";
import { type EtcdCaller, etcdCaller } from "./etcd-caller.ts";
import { failureLine, lineOf } from "./etcd-lines.ts";
import { SnapshotReading, streamOf } from "./snapshot-reading.ts";

const encoder = new TextEncoder();

function sourceOf(reading: SnapshotReading): BoltSource {
  const { compactedRevision, leases } = reading.begin;
  return {
    ...{ compactedRevision, leases },
    async *records() {
      for await (const { payload } of reading.records()) yield [...readRecords(payload)].map(({ record }) => record);
    },
  };
}

async function* messagesOf(reading: SnapshotReading, { identity }: EtcdCaller): AsyncGenerator<Uint8Array> {
  const { revision, term } = reading.begin;
  const header = headerOf(identity, { revision, term });
  const digest = new crypto.DigestStream("SHA-256");
  const writer = digest.getWriter();
  const message = (blob: Uint8Array, remainingBytes: number) =>
    encoder.encode(lineOf(jsonOf(SnapshotResponse, { header, remainingBytes, blob })));
  try {
    const file = await boltFileOf(sourceOf(reading));
    let left = file.bytes;
    for await (const piece of file.pieces()) {
      await writer.write(piece);
      left -= piece.length;
      yield message(piece, left);
    }
    await writer.close();
    yield message(new Uint8Array(await digest.digest), 0);
  } catch (error) {
    yield encoder.encode(failureLine(etcdErrorOf(publicErrorOf(error))));
  } finally {
    await reading.end();
  }
}

export async function streamSnapshot(call: Call, body: string): Promise<Response> {
  const caller = await etcdCaller(call);
  messageOfJson(EmptyRequest, body);
  const reading = await SnapshotReading.begin(call, caller.keyspace);
  return new Response(streamOf(call, messagesOf(reading, caller)), { headers: apiHeaders(call) });
}

/** etcd's hash of all keys with their history: the same for an etcd that was started on this keyspace's snapshot. */
export async function hashKv(call: Call, { revision = 0 }: HashKvRequest): Promise<unknown> {
  const caller = await etcdCaller(call);
  const reading = await SnapshotReading.begin(call, caller.keyspace, Math.max(0, revision));
  try {
    const { begin } = reading;
    const rows = new KeyRows();
    let hash = crc32c(encoder.encode("key"));
    for await (const { payload } of reading.records()) {
      for (const { isKept, record } of readRecords(payload)) {
        const { key, value } = rows.rowOf(record);
        // As etcd: what compaction would remove does not count, so that it may be anywhere on its way.
        if (record.revision > begin.revision || !(isKept || begin.isEmpty)) continue;
        hash = crc32c(value, crc32c(key, hash));
      }
    }
    const header = headerOf(caller.identity, begin);
    return { header, hash, compactRevision: begin.compactedRevision };
  } finally {
    await reading.end();
  }
}
