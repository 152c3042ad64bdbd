// Pages of a tenant's rows: the frame a replica answers a scan with, and the join of the pages of several replicas.
// Guarantees: rows leave in ring order (token, then key), each once, joined from every replica that answered; a page ends where the
// slowest replica's page ends, so nothing is passed over. Must not: decide how many replicas are enough.
import { compareBytes, decodeState, type KeyState } from "../kv/key-state.ts";
import { mergeStates } from "../kv/merge.ts";
import type { RowKey, ScanPage } from "../storage/types.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";

const encoder = new TextEncoder();

export function writeScanPage(page: ScanPage): Uint8Array {
  const writer = new ByteWriter(64 * 1024);
  writer.u8(page.done ? 1 : 0);
  for (const { row, value } of page.rows) {
    writer.varint(row.tenant);
    writer.u32(row.token.hi);
    writer.u32(row.token.lo);
    writer.string(row.key);
    writer.bytes(value);
  }
  return writer.take();
}

export function readScanPage(frame: Uint8Array): ScanPage {
  const reader = new ByteReader(frame);
  const done = reader.u8() === 1;
  const rows: { row: RowKey; value: Uint8Array }[] = [];
  while (!reader.done) {
    const tenant = reader.varint();
    const token = { hi: reader.u32(), lo: reader.u32() };
    rows.push({ row: { tenant, token, key: reader.string() }, value: reader.bytes() });
  }
  return { rows, done };
}

/** Ring order, as the engine sorts: token, tenant, UTF-8 of the key. */
export function compareRows(a: RowKey, b: RowKey): number {
  return (
    a.token.hi - b.token.hi ||
    a.token.lo - b.token.lo ||
    a.tenant - b.tenant ||
    (a.key === b.key ? 0 : compareBytes(encoder.encode(a.key), encoder.encode(b.key)))
  );
}

export interface JoinedPage {
  readonly rows: readonly { readonly row: RowKey; readonly state: KeyState }[];
  /** Where the next page starts after; undefined = nothing follows. */
  readonly after: RowKey | undefined;
}

export function joinPages(pages: readonly ScanPage[]): JoinedPage {
  let limit: RowKey | undefined;
  for (const page of pages) {
    const last = page.rows.at(-1)?.row;
    if (page.done || !last) continue;
    if (!limit || compareRows(last, limit) < 0) limit = last;
  }
  const joined: { row: RowKey; state: KeyState }[] = [];
  const all = pages.flatMap((page) => page.rows).filter(({ row }) => !limit || compareRows(row, limit) <= 0);
  all.sort((a, b) => compareRows(a.row, b.row));
  for (const { row, value } of all) {
    const state = decodeState(value);
    const held = joined.at(-1);
    if (held && compareRows(held.row, row) === 0) {
      joined[joined.length - 1] = { row, state: mergeStates(held.state, state) };
    } else {
      joined.push({ row, state });
    }
  }
  return { rows: joined, after: limit };
}
