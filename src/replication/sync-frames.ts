// What a replica that compares itself with others asks them: digests of ranges, pages of row digests, pages of records.
// Guarantees: both directions round-trip; malformed input throws MalformedBytes. Must not: act on anything.
import type { TokenRange } from "../cluster/ring.ts";
import { murmur128 } from "../cluster/token.ts";
import type { RecordKey, RowKey } from "../storage/types.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import { WRITE_ID_BYTES } from "../wire/session.ts";

const ROWS = 1;
const RECORDS = 2;
const ROUTES = 3;
const DIGESTS = 4;
const KINDS = { rows: ROWS, records: RECORDS, routes: ROUTES, digests: DIGESTS } as const;
const HAS_TENANT = 1;
const HAS_AFTER = 2;
const IS_FRESH = 4;

export interface PageRequest {
  readonly kind: keyof typeof KINDS;
  /** Only this tenant; undefined = all. */
  readonly tenant: number | undefined;
  /** The source records this revision of the tenant's route before it answers: no older coordinator writes there afterwards. */
  readonly routeRevision: number;
  /** Inclusive: high words of tokens for rows, hashes of ids for records. */
  readonly from: number;
  readonly to: number;
  /** Rows or records of the page; of digests, rows that are read for them. */
  readonly limit: number;
  readonly afterRow?: RowKey | undefined;
  readonly afterRecord?: RecordKey | undefined;
  /** Of digests: for which ranges, ascending, and whether all of them are to be read anew. */
  readonly parts?: readonly TokenRange[] | undefined;
  readonly isFresh?: boolean | undefined;
}

export interface RowDigest {
  readonly row: RowKey;
  /** 64 bits of the state's hash. */
  readonly hi: number;
  readonly lo: number;
}

/** Of the rows of a tenant in a range: how many, and the sums of their hashes, each modulo 2^32. */
export interface RangeDigest {
  readonly tenant: number;
  readonly count: number;
  readonly hi: number;
  readonly lo: number;
}

/** Of a range from its beginning up to here, which may be short of what was asked for. */
export interface DigestPart {
  readonly toHi: number;
  readonly digests: readonly RangeDigest[];
}

export interface Page {
  /** Who answers, under which incarnation. */
  readonly actor: number;
  /** It lost its disk and is being filled itself, so that it can answer for nobody else. */
  readonly isRebuilding: boolean;
  /** Deleted states up to this hybrid time are left out: only pages of one horizon can be compared. */
  readonly horizon: number;
  readonly done: boolean;
  readonly rows: readonly RowDigest[];
  readonly records: readonly { readonly key: RecordKey; readonly record: Uint8Array }[];
  /** Revisions of tenants' routes recorded there: all, or with rows those of their tenants. */
  readonly routes: readonly { readonly tenant: number; readonly revision: number }[];
  /** Of the parts asked for, in their order: the last may be cut short, those behind it are left out. */
  readonly parts?: readonly DigestPart[] | undefined;
  /** Rows that were read for these. */
  readonly rowsRead?: number | undefined;
}

export function digestOf(row: RowKey, state: Uint8Array): RowDigest {
  const words = murmur128(state, state.length);
  return { row, hi: words[0]! >>> 0, lo: words[1]! >>> 0 };
}

function writeRow(writer: ByteWriter, { tenant, token, key }: RowKey): void {
  writer.varint(tenant);
  writer.u32(token.hi);
  writer.u32(token.lo);
  writer.string(key);
}

function readRow(reader: ByteReader): RowKey {
  const tenant = reader.varint();
  const token = { hi: reader.u32(), lo: reader.u32() };
  return { tenant, token, key: reader.string() };
}

function writeRecordKey(writer: ByteWriter, { tenant, writeId }: RecordKey): void {
  writer.varint(tenant);
  writer.raw(writeId);
}

function readRecordKey(reader: ByteReader): RecordKey {
  return { tenant: reader.varint(), writeId: reader.raw(WRITE_ID_BYTES) };
}

function writeRanges(writer: ByteWriter, ranges: readonly TokenRange[]): void {
  writer.varint(ranges.length);
  for (const { fromHi, toHi } of ranges) {
    writer.u32(fromHi);
    writer.u32(toHi);
  }
}

function readRanges(reader: ByteReader): TokenRange[] {
  const ranges: TokenRange[] = [];
  for (let i = reader.varint(); i > 0; i--) ranges.push({ fromHi: reader.u32(), toHi: reader.u32() });
  return ranges;
}

export function writePageRequest(request: PageRequest): Uint8Array {
  const writer = new ByteWriter(64);
  const isRows = request.kind === "rows";
  const hasAfter = (isRows ? request.afterRow : request.afterRecord) !== undefined;
  writer.u8(KINDS[request.kind]);
  const flags = (request.tenant === undefined ? 0 : HAS_TENANT) | (hasAfter ? HAS_AFTER : 0);
  writer.u8(flags | (request.isFresh ? IS_FRESH : 0));
  writer.varint(request.tenant ?? 0);
  writer.varint(request.routeRevision);
  writer.u32(request.from);
  writer.u32(request.to);
  writer.varint(request.limit);
  if (request.kind === "rows" && request.afterRow) writeRow(writer, request.afterRow);
  if (request.kind === "records" && request.afterRecord) writeRecordKey(writer, request.afterRecord);
  if (request.kind === "digests") writeRanges(writer, request.parts ?? []);
  return writer.take();
}

export function readPageRequest(bytes: Uint8Array): PageRequest {
  const reader = new ByteReader(bytes);
  const code = reader.u8();
  if (code < ROWS || code > DIGESTS) throw new MalformedBytes(`unknown page request ${code}`);
  const flags = reader.u8();
  const tenant = reader.varint();
  const head = {
    tenant: flags & HAS_TENANT ? tenant : undefined,
    routeRevision: reader.varint(),
    from: reader.u32(),
    to: reader.u32(),
    limit: reader.varint(),
  };
  const hasAfter = (flags & HAS_AFTER) !== 0;
  if (code === ROWS) return { kind: "rows", ...head, ...(hasAfter ? { afterRow: readRow(reader) } : {}) };
  if (code === ROUTES) return { kind: "routes", ...head };
  if (code === DIGESTS)
    return { kind: "digests", ...head, isFresh: (flags & IS_FRESH) !== 0, parts: readRanges(reader) };
  return { kind: "records", ...head, ...(hasAfter ? { afterRecord: readRecordKey(reader) } : {}) };
}

export function writePage(page: Page): Uint8Array {
  const writer = new ByteWriter(512);
  writer.varint(page.actor);
  writer.varint(page.horizon);
  writer.u8((page.isRebuilding ? 1 : 0) | (page.done ? 2 : 0));
  writer.varint(page.rows.length);
  for (const { row, hi, lo } of page.rows) {
    writeRow(writer, row);
    writer.u32(hi);
    writer.u32(lo);
  }
  writer.varint(page.records.length);
  for (const { key, record } of page.records) {
    writeRecordKey(writer, key);
    writer.bytes(record);
  }
  writer.varint(page.routes.length);
  for (const { tenant, revision } of page.routes) {
    writer.varint(tenant);
    writer.varint(revision);
  }
  if (page.parts) writeParts(writer, page.parts, page.rowsRead ?? 0);
  return writer.take();
}

export function readPage(bytes: Uint8Array): Page {
  const reader = new ByteReader(bytes);
  const actor = reader.varint();
  const horizon = reader.varint();
  const flags = reader.u8();
  const rows: RowDigest[] = [];
  for (let i = reader.varint(); i > 0; i--) rows.push({ row: readRow(reader), hi: reader.u32(), lo: reader.u32() });
  const records: { key: RecordKey; record: Uint8Array }[] = [];
  for (let i = reader.varint(); i > 0; i--) records.push({ key: readRecordKey(reader), record: reader.bytes() });
  const routes: { tenant: number; revision: number }[] = [];
  for (let i = reader.varint(); i > 0; i--) routes.push({ tenant: reader.varint(), revision: reader.varint() });
  const page = { actor, horizon, isRebuilding: (flags & 1) !== 0, done: (flags & 2) !== 0, rows, records, routes };
  return reader.done ? page : { ...page, ...readParts(reader) };
}

function writeParts(writer: ByteWriter, parts: readonly DigestPart[], rowsRead: number): void {
  writer.varint(rowsRead);
  writer.varint(parts.length);
  for (const { toHi, digests } of parts) {
    writer.u32(toHi);
    writer.varint(digests.length);
    for (const { tenant, count, hi, lo } of digests) {
      writer.varint(tenant);
      writer.varint(count);
      writer.u32(hi);
      writer.u32(lo);
    }
  }
}

function readParts(reader: ByteReader): Pick<Page, "parts" | "rowsRead"> {
  const rowsRead = reader.varint();
  const parts: DigestPart[] = [];
  for (let i = reader.varint(); i > 0; i--) {
    const toHi = reader.u32();
    const digests: RangeDigest[] = [];
    for (let j = reader.varint(); j > 0; j--)
      digests.push({ tenant: reader.varint(), count: reader.varint(), hi: reader.u32(), lo: reader.u32() });
    parts.push({ toHi, digests });
  }
  return { parts, rowsRead };
}
