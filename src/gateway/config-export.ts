// GET /v1/config/export: the keys of a keyspace, page by page at one revision, as newline-delimited JSON.
// Guarantees: all pages show the state of the first one's revision; a page ends with the line `{"cursor":…,"revision":…}`, so that
// one cut off is noticed; values are their exact bytes. A page is bounded so that it can be the body of an import.
import type { KeyValue } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
import { apiHeaders, joinPieces } from "./answers.ts";
import type { Call } from "./call.ts";
import { callConfig } from "./config-call.ts";
import { rangeFrom } from "./config-fields.ts";
import { after, cursorText, positionOf } from "./config-range.ts";
import { type ConfigInput, configRoute } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { metaPiece, type Pieces, valuePieces } from "./config-shown.ts";
import { EXPORT_PAGE_BYTES, MAX_CONFIG_PAGE_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";

export const NDJSON_TYPE = "application/x-ndjson";
const LINE_BREAK = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** What the last line needs: a cursor of the greatest key, and numbers. Bytes. */
const LAST_LINE_BYTES = 4096;

/** A value whose JSON text holds line breaks travels as a string: they would end its line. */
function linePieces(kv: KeyValue): Pieces {
  const { value } = kv;
  const isBroken = value.includes(LINE_BREAK) || value.includes(CARRIAGE_RETURN);
  return [`{${metaPiece(kv, "utf8")},`, ...valuePieces(value, isBroken ? "text" : "json"), "}\n"];
}

type ExportInput = ConfigInput<ReturnType<typeof schemas.exportQuery.parse>, unknown>;

async function exportPage(call: Call, { query, keyspace }: ExportInput): Promise<Response> {
  const { keyEncoding, prefix, limit, cursor } = query;
  const whole = rangeFrom({ prefix }, keyEncoding) ?? prefixRange("");
  const position = cursor === undefined ? undefined : positionOf(cursor);
  const { key, rangeEnd } = position ? after(whole, position, false) : whole;
  const request = {
    kind: "range",
    key,
    rangeEnd,
    limit,
    maxBytes: EXPORT_PAGE_BYTES,
    revision: position?.revision,
  } as const;
  const { kvs, more, header } = await callConfig(call, keyspace, request);
  const revision = position?.revision ?? header.revision;
  const lines: Uint8Array[] = [];
  let bytes = LAST_LINE_BYTES;
  for (const kv of kvs) {
    const line = joinPieces(linePieces(kv));
    bytes += line.length;
    if (bytes > MAX_CONFIG_PAGE_BYTES && lines.length > 0) break;
    lines.push(line);
  }
  const last = kvs[lines.length - 1];
  const hasMore = (more || lines.length < kvs.length) && last !== undefined;
  const next = hasMore ? cursorText({ revision, isPrefix: false, last: last.key }) : null;
  const body = joinPieces([...lines, `${JSON.stringify({ cursor: next, revision })}\n`]);
  return new Response(body, { headers: apiHeaders(call, undefined, NDJSON_TYPE) });
}

export const configExportRoute: Route = configRoute({
  method: "get",
  path: "/v1/config/export",
  summary:
    "All keys of a namespace or a prefix at one revision, page by page, as newline-delimited JSON; the last line of a page holds the cursor",
  scope: "read-only",
  query: schemas.exportQuery,
  errors: ["compacted", "futureRevision"],
  handle: exportPage,
});
