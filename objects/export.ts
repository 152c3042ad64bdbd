// One page of all of a tenant's keys, joined from the replicas of every storage node.
// Guarantees: a page is answered only while so few nodes are away that every key was read from a majority of its replicas; deleted
// keys are left out. Where unreadable blocks forbid that, the page is `dataCorrupt`, or goes on past them and says what it lacks
// (spec RP-91). Must not: hold anything between pages; the cursor carries the position.
import type { Caller } from "../src/access/types.ts";
import type { Ring } from "../src/cluster/ring.ts";
import { resolveState } from "../src/kv/resolve.ts";
import { type GappyPage, joinPages, readScanPage } from "../src/replication/scan-frames.ts";
import { type Lost, lostOf } from "../src/replication/scan-gaps.ts";
import { majority } from "../src/replication/tally.ts";
import type { RowKey, Token } from "../src/storage/types.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../src/wire/bytes.ts";
import { PublicError } from "../src/wire/error-codes.ts";
import { writeAnswer } from "../src/wire/session.ts";
import type { ExportAsk, ExportPage, Skipped } from "./rpc.ts";

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

/** Keys an error names; a page may hold a thousand. */
const MAX_NAMED_KEYS = 20;

const hexOf = ({ hi, lo }: Token): string => hi.toString(16).padStart(8, "0") + lo.toString(16).padStart(8, "0");

function skippedOf(lost: Lost): Skipped {
  const ranges = lost.ranges.map(({ nodeId, from, to }) => ({ nodeId, fromToken: hexOf(from), toToken: hexOf(to) }));
  return { ranges, keys: [...lost.rows].map(({ key }) => key) };
}

function corruptError(lost: Lost): PublicError {
  const { ranges, keys } = skippedOf(lost);
  const where = ranges.map((range) => `${range.fromToken}-${range.toToken} on ${range.nodeId}`).join(", ");
  return new PublicError(
    "dataCorrupt",
    `unreadable blocks and too few intact copies: ${keys.length} keys cannot be told${where ? `, and others may stand at the tokens ${where}` : ""}`,
    { ranges, keys: keys.slice(0, MAX_NAMED_KEYS), keyCount: keys.length },
  );
}

export async function exportPage(
  caller: Caller,
  ring: Ring,
  { cursor, skipCorrupt }: ExportAsk,
  scan: Scan,
): Promise<ExportPage> {
  if (cursor) checkCursor(caller.tenant, cursor);
  const { replicationFactor, tenant } = caller;
  const nodeIds = ring.nodes.map(({ id }) => id);
  const pages = new Map<string, GappyPage>();
  const read = async (nodeId: string) => pages.set(nodeId, readScanPage(await scan(nodeId, cursor)));
  await Promise.allSettled(nodeIds.map(read));
  const away = nodeIds.length - pages.size;
  const bearable = replicationFactor - majority(replicationFactor);
  if (away > bearable) {
    throw new PublicError("quorumUnavailable", `${away} storage nodes did not answer; an export bears ${bearable}`);
  }
  const joined = joinPages([...pages.values()]);
  const after = cursor ? readCursor(tenant, cursor) : undefined;
  const lost = lostOf({ pages, joined, after, ring, replicationFactor });
  if (lost && !skipCorrupt) throw corruptError(lost);
  const rows: { key: string; answer: Uint8Array }[] = [];
  for (const { row, state } of joined.rows) {
    if (lost?.rows.has(row)) continue;
    const resolved = resolveState(state, caller.conflictPolicy);
    if (resolved.kind === "notFound") continue;
    const writer = new ByteWriter(resolved.value.length + 64);
    writeAnswer(writer, { id: 0, ...resolved });
    rows.push({ key: row.key, answer: writer.take() });
  }
  const next = joined.after ? writeCursor(joined.after) : null;
  return { rows, cursor: next, ...(lost ? { skipped: skippedOf(lost) } : {}) };
}
