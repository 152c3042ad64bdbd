// One page of all of a tenant's keys, joined from the replicas of every storage node.
// Guarantees: a page is answered only while so few nodes are away that every key was read from a majority of its replicas; deleted
// keys are left out. Must not: hold anything between pages; the cursor carries the position.
import type { Caller } from "../src/access/types.ts";
import { resolveState } from "../src/kv/resolve.ts";
import { joinPages, readScanPage } from "../src/replication/scan-frames.ts";
import { majority } from "../src/replication/tally.ts";
import type { RowKey } from "../src/storage/types.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../src/wire/bytes.ts";
import { PublicError } from "../src/wire/error-codes.ts";
import { writeAnswer } from "../src/wire/session.ts";
import type { ExportPage } from "./rpc.ts";

type Scan = (nodeId: string, after: Uint8Array | null) => Promise<Uint8Array>;

/** A position without the tenant's number: clients see cursors, and numbers would let tenants count each other. */
export function writeCursor({ token, key }: RowKey): Uint8Array {
  const writer = new ByteWriter(64);
  writer.u32(token.hi);
  writer.u32(token.lo);
  writer.string(key);
  return writer.take();
}

/** Throws MalformedBytes. */
export function readCursor(tenant: number, bytes: Uint8Array): RowKey {
  const reader = new ByteReader(bytes);
  const token = { hi: reader.u32(), lo: reader.u32() };
  const key = reader.string();
  if (!reader.done) throw new MalformedBytes("bytes after the cursor");
  return { tenant, token, key };
}

function checkCursor(tenant: number, cursor: Uint8Array): void {
  try {
    readCursor(tenant, cursor);
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw new PublicError("invalidRequest", "cursor is not one that an earlier page returned", {
      issues: [{ path: "cursor", message: "is not one that an earlier page returned" }],
    });
  }
}

export async function exportPage(
  caller: Caller,
  nodeIds: readonly string[],
  after: Uint8Array | null,
  scan: Scan,
): Promise<ExportPage> {
  if (after) checkCursor(caller.tenant, after);
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
