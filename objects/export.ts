// One page of all of a tenant's keys, joined from the replicas of every storage node.
// Guarantees: a page is answered only while so few nodes are away that every key was read from a majority of its replicas; deleted
// keys are left out. Must not: hold anything between pages; the cursor carries the position.
import type { Caller } from "../src/access/types.ts";
import { resolveState } from "../src/kv/resolve.ts";
import { joinPages, readScanPage } from "../src/replication/scan-frames.ts";
import { majority } from "../src/replication/write-call.ts";
import type { RowKey } from "../src/storage/types.ts";
import { ByteReader, ByteWriter } from "../src/wire/bytes.ts";
import { PublicError } from "../src/wire/error-codes.ts";
import { writeAnswer } from "../src/wire/session.ts";
import type { ExportPage } from "./rpc.ts";

type Scan = (nodeId: string, after: Uint8Array | null) => Promise<Uint8Array>;

export function writeCursor(row: RowKey): Uint8Array {
  const writer = new ByteWriter(64);
  writer.varint(row.tenant);
  writer.u32(row.token.hi);
  writer.u32(row.token.lo);
  writer.string(row.key);
  return writer.take();
}

export function readCursor(bytes: Uint8Array): RowKey {
  const reader = new ByteReader(bytes);
  const tenant = reader.varint();
  const token = { hi: reader.u32(), lo: reader.u32() };
  return { tenant, token, key: reader.string() };
}

export async function exportPage(
  caller: Caller,
  nodeIds: readonly string[],
  after: Uint8Array | null,
  scan: Scan,
): Promise<ExportPage> {
  const settled = await Promise.allSettled(nodeIds.map((nodeId) => scan(nodeId, after)));
  const frames = settled.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const away = nodeIds.length - frames.length;
  const bearable = caller.replicationFactor - majority(caller.replicationFactor);
  if (away > bearable) {
    throw new PublicError("quorumUnavailable", `${away} storage nodes did not answer; an export bears ${bearable}`);
  }
  const joined = joinPages(frames.map(readScanPage));
  const rows: { key: string; answer: Uint8Array }[] = [];
  for (const { row, state } of joined.rows) {
    const resolved = resolveState(state, caller.conflictPolicy);
    if (resolved.kind === "notFound") continue;
    const writer = new ByteWriter(resolved.value.length + 64);
    writeAnswer(writer, { id: 0, ...resolved });
    rows.push({ key: row.key, answer: writer.take() });
  }
  return { rows, cursor: joined.after ? writeCursor(joined.after) : null };
}
