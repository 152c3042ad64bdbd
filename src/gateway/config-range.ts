// GET, DELETE /v1/config/range: ranges, prefixes and levels of a hierarchy, page by page at one revision.
// Guarantees: all pages of a cursor show the state of the first one's revision. A cursor grants nothing: it only says where to go on.

import { base64UrlOf } from "../access/api-key.ts";
import type { BinaryKey, KeyRange, RangeAnswer, RangeRequest, SortTarget } from "../wire/config.ts";
import { bytesOfKey, NO_END, prefixEnd, prefixRange } from "../wire/config-keys.ts";
import { success, successPieces } from "./answers.ts";
import type { Call } from "./call.ts";
import { callConfig, readConfig } from "./config-call.ts";
import { keyFrom, rangeFrom } from "./config-fields.ts";
import { requireSerializable } from "./config-keys.ts";
import { CONFIG_WRITE_ERRORS, type ConfigInput, configRoute } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { type Encodings, keyValuePieces, listPieces, type Pieces, shownKey } from "./config-shown.ts";
import { invalidRequest } from "./issues.ts";
import type { Route } from "./route.ts";

type RangeQuery = ReturnType<typeof schemas.rangeQuery.parse>;
/** What a range and a transaction's range share. */
type RangeOptions = Omit<
  RangeQuery,
  "namespace" | "keyEncoding" | "valueEncoding" | "cursor" | "consistency" | "maxStalenessMs"
>;

const SORTS: Readonly<Record<NonNullable<RangeOptions["sort"]>, SortTarget>> = {
  key: "key",
  version: "version",
  createRevision: "create",
  modRevision: "mod",
  value: "value",
};

/** `at`: where the fields stand, for the issues. */
export function rangeRequest(
  fields: RangeOptions,
  { keyEncoding }: Pick<Encodings, "keyEncoding">,
  at = "",
): RangeRequest {
  const { limit, revision, keysOnly, countOnly, withCount, sort = "key", order, delimiter } = fields;
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = fields;
  const given = rangeFrom(fields, keyEncoding, at);
  const range = given ?? prefixRange("");
  const prefix = given?.prefix;
  const level =
    delimiter === undefined ? undefined : keyFrom(delimiter, keyEncoding, at === "" ? "delimiter" : `${at}.delimiter`);
  return {
    kind: "range",
    ...{ key: range.key, rangeEnd: range.rangeEnd, limit, revision, keysOnly, countOnly, withCount },
    ...{ sortTarget: SORTS[sort], descending: order === "desc" },
    ...{ minModRevision, maxModRevision, minCreateRevision, maxCreateRevision },
    ...{ delimiter: level, delimiterFrom: prefix?.length },
  };
}

/** Where a page ended: the revision, and the last key or common prefix that it showed. */
export interface Position {
  readonly revision: number;
  readonly isPrefix: boolean;
  readonly last: BinaryKey;
}

const CURSOR = /^1\.([1-9][0-9]{0,15})\.([kp])\.([A-Za-z0-9_-]+)$/;

export function cursorText({ revision, isPrefix, last }: Position): string {
  return `1.${revision}.${isPrefix ? "p" : "k"}.${base64UrlOf(bytesOfKey(last))}`;
}

export function positionOf(cursor: string): Position {
  const [, revision = "", kind, last = ""] = CURSOR.exec(cursor) ?? [];
  const refuse = () => invalidRequest([{ path: "cursor", message: "is not one that an earlier page returned" }]);
  if (revision === "" || !Number.isSafeInteger(Number(revision))) throw refuse();
  return { revision: Number(revision), isPrefix: kind === "p", last: keyFrom(last, "base64", "cursor") };
}

/** The part of the range that earlier pages have not shown. */
export function after(range: KeyRange, { last, isPrefix }: Position, isDescending: boolean): KeyRange {
  if (isDescending) return { key: range.key, rangeEnd: last };
  const next = isPrefix ? prefixEnd(last) : `${last}\0`;
  if (next === NO_END || (range.rangeEnd !== NO_END && next >= range.rangeEnd))
    return { key: "\x01", rangeEnd: "\x01" };
  return { key: next > range.key ? next : range.key, rangeEnd: range.rangeEnd };
}

function paged(request: RangeRequest, query: RangeQuery): RangeRequest {
  if (query.cursor === undefined) return request;
  if (request.sortTarget !== "key")
    throw invalidRequest([{ path: "cursor", message: "goes with the order of keys only; other sorts have no pages" }]);
  const position = positionOf(query.cursor);
  if (query.revision !== undefined && query.revision !== position.revision)
    throw invalidRequest([{ path: "revision", message: "is not the one that the cursor's pages show" }]);
  return { ...request, ...after(request, position, request.descending === true), revision: position.revision };
}

function lastOf({ kvs, commonPrefixes = [] }: RangeAnswer): Omit<Position, "revision"> | undefined {
  const key = kvs.at(-1)?.key;
  const prefix = commonPrefixes.at(-1);
  if (prefix !== undefined && (key === undefined || prefix > key)) return { isPrefix: true, last: prefix };
  return key === undefined ? undefined : { isPrefix: false, last: key };
}

export function rangePieces(answer: RangeAnswer, request: RangeRequest, encodings: Encodings): Pieces {
  const items = listPieces(answer.kvs, (kv) => keyValuePieces(kv, encodings, request.keysOnly));
  const pieces: Pieces = ['"items":', ...items];
  if (answer.commonPrefixes) {
    const prefixes = answer.commonPrefixes.map((prefix) => shownKey(prefix, encodings.keyEncoding));
    pieces.push(`,"commonPrefixes":${JSON.stringify(prefixes)}`);
  }
  if (request.countOnly || request.withCount || !answer.more) pieces.push(`,"count":${answer.count}`);
  pieces.push(`,"more":${answer.more}`);
  return pieces;
}

async function getRange(call: Call, { query, keyspace }: ConfigInput<RangeQuery, unknown>): Promise<Response> {
  const { keyEncoding, valueEncoding = "json" } = query;
  requireSerializable(query.maxStalenessMs, query.consistency);
  const request = paged(rangeRequest(query, { keyEncoding }), query);
  const answer = await readConfig(call, keyspace, request, query);
  const revision = request.revision ?? answer.header.revision;
  const last = answer.more && request.sortTarget === "key" ? lastOf(answer) : undefined;
  const cursor = last ? `"${cursorText({ ...last, revision })}"` : "null";
  const pieces = rangePieces(answer, request, { keyEncoding, valueEncoding });
  return successPieces(call, "found", [`{"revision":${revision},`, ...pieces, `,"cursor":${cursor}}`]);
}

async function deleteRange(
  call: Call,
  { query, keyspace }: ConfigInput<ReturnType<typeof schemas.deleteRangeQuery.parse>, unknown>,
): Promise<Response> {
  const range = rangeFrom(query, query.keyEncoding);
  if (!range)
    throw invalidRequest([{ path: "prefix", message: "is required, or start or end; prefix= means all keys" }]);
  const request = { kind: "deleteRange", key: range.key, rangeEnd: range.rangeEnd } as const;
  const { deleted, header } = await callConfig(call, keyspace, request);
  return success(call, { message: "deleted", data: { deleted, revision: header.revision } });
}

export const configRangeRoutes: readonly Route[] = [
  configRoute({
    method: "get",
    path: "/v1/config/range",
    summary: "Read a prefix, a range or one level of a hierarchy, page by page at one revision",
    scope: "read-only",
    query: schemas.rangeQuery,
    data: schemas.rangeShape,
    errors: ["compacted", "futureRevision", "payloadTooLarge"],
    handle: getRange,
  }),
  configRoute({
    method: "delete",
    path: "/v1/config/range",
    summary: "Delete all keys of a prefix or a range, in one revision",
    scope: "read-write",
    query: schemas.deleteRangeQuery,
    data: schemas.deletedShape,
    errors: ["payloadTooLarge", ...CONFIG_WRITE_ERRORS],
    handle: deleteRange,
  }),
];
