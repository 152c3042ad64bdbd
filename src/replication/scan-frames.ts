// Pages of a tenant's rows: the frame a replica answers a scan with, and the join of the pages of several replicas.
// Guarantees: rows leave in ring order (token, then key), each once, joined from every replica that answered; a page ends where the
// slowest replica's page ends, so nothing is passed over. Must not: decide how many replicas are enough.
import { compareBytes, decodeState, EMPTY_STATE, type KeyState } from "../kv/key-state.ts";
import { mergeStates } from "../kv/merge.ts";
import type { RowKey, ScanPage, Token } from "../storage/types.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";

const encoder = new TextEncoder();

/** Stands for a value that a node cannot read. A state is never empty. */
export const UNREADABLE = new Uint8Array(0);

/** Tokens, both ends inclusive, between which a node cannot read all of its rows. */
export interface Gap {
  readonly from: Token;
  readonly to: Token;
}

export interface GappyPage extends ScanPage {
  readonly gaps: readonly Gap[];
}

export function writeScanPage(page: ScanPage & { readonly gaps?: readonly Gap[] }): Uint8Array {
  const writer = new ByteWriter(4096);
  writer.u8(page.done ? 1 : 0);
  const { gaps = [] } = page;
  writer.varint(gaps.length);
  for (const { hi, lo } of gaps.flatMap(({ from, to }) => [from, to])) {
    writer.u32(hi);
    writer.u32(lo);
  }
  for (const { row, value } of page.rows) {
    writer.varint(row.tenant);
    writer.u32(row.token.hi);
    writer.u32(row.token.lo);
    writer.string(row.key);
    writer.bytes(value);
  }
  return writer.take();
}

export function readScanPage(frame: Uint8Array): GappyPage {
  const reader = new ByteReader(frame);
  const done = reader.u8() === 1;
  const token = (): Token => ({ hi: reader.u32(), lo: reader.u32() });
  const gaps: Gap[] = [];
  for (let left = reader.varint(); left > 0; left--) gaps.push({ from: token(), to: token() });
  const rows: { row: RowKey; value: Uint8Array }[] = [];
  while (!reader.done) {
    const tenant = reader.varint();
    rows.push({ row: { tenant, token: token(), key: reader.string() }, value: reader.bytes() });
  }
  return { rows, done, gaps };
}

export const compareTokens = (a: Token, b: Token): number => a.hi - b.hi || a.lo - b.lo;

/** Ring order, as the engine sorts: token, tenant, UTF-8 of the key. */
export function compareRows(a: RowKey, b: RowKey): number {
  return (
    compareTokens(a.token, b.token) ||
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
    const state = value.length === 0 ? EMPTY_STATE : decodeState(value);
    const held = joined.at(-1);
    if (held && compareRows(held.row, row) === 0) {
      joined[joined.length - 1] = { row, state: mergeStates(held.state, state) };
    } else {
      joined.push({ row, state });
    }
  }
  return { rows: joined, after: limit };
}
