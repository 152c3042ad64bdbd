// GET /v1/key-value/export: all of a tenant's keys, page by page, as newline-delimited JSON.
// Guarantees: values are their exact bytes; a page ends with a line `{"cursor":…}`, so that one cut off is noticed.
// A value whose JSON text holds line breaks travels as the string `valueText`, because a line break would end its line.
import { z } from "@hono/zod-openapi";
import { base64UrlOf } from "../access/api-key.ts";
import { clockToMap } from "../wire/clock.ts";
import { PublicError } from "../wire/error-codes.ts";
import { readAnswers } from "../wire/session.ts";
import { authenticate, requireScope } from "./access.ts";
import { apiHeaders, joinPieces } from "./answers.ts";
import type { Call } from "./call.ts";
import { wholeNumberText } from "./cursor.ts";
import { reading } from "./errors.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { parseQuery } from "./query.ts";

/** Rows of one page: bounded with the 4 MiB a storage node's scan page may have. */
const MAX_EXPORT_ROWS = 1000;
const LINE_BREAK = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const CURSOR = /^[A-Za-z0-9_-]{1,2000}$/;

export const exportQuery = z.strictObject({
  limit: wholeNumberText(MAX_EXPORT_ROWS).default(MAX_EXPORT_ROWS),
  cursor: z.string().optional().openapi({ description: "The `cursor` of the page before." }),
  onCorrupt: z.enum(["fail", "skip"]).default("fail").openapi({
    description:
      "Where too few intact copies are left: `fail` is `dataCorrupt`; `skip` goes on past them, and the last line names in `skipped` the ranges of tokens (`nodeId`, `fromToken`, `toToken`) and the known `keys` that are left out.",
  }),
});

function cursorBytes(cursor: string | undefined): Uint8Array | null {
  if (cursor === undefined) return null;
  if (!CURSOR.test(cursor))
    throw invalidRequest([{ path: "cursor", message: "is not one that an earlier page returned" }]);
  try {
    return Uint8Array.from(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  } catch {
    throw invalidRequest([{ path: "cursor", message: "is not one that an earlier page returned" }]);
  }
}

export async function exportKeyValue(call: Call): Promise<Response> {
  const { caller } = requireScope(await authenticate(call), "read-only");
  const { limit, cursor, onCorrupt } = parseWith(exportQuery, parseQuery(call.url.search));
  const ask = { cursor: cursorBytes(cursor), limitRows: limit, skipCorrupt: onCorrupt === "skip" };
  const page = await reading(call.services.stubs.coordinator().exportPage(caller, ask), "Coordinator");
  if ("code" in page) throw new PublicError(page.code, page.message, page.details);
  const pieces: (string | Uint8Array)[] = [];
  for (const { key, answer } of page.rows) {
    const [read] = readAnswers(answer);
    if (read?.kind !== "value") throw new Error(`an exported row is ${read?.kind}`);
    const clock = JSON.stringify(clockToMap(read.clock));
    pieces.push(`{"key":${JSON.stringify(key)},`, ...valuePieces(read.value), `,"vectorClock":${clock}}\n`);
  }
  const end = { cursor: page.cursor ? base64UrlOf(page.cursor) : null, skipped: page.skipped };
  pieces.push(`${JSON.stringify(end)}\n`);
  return new Response(joinPieces(pieces), { headers: apiHeaders(call, undefined, "application/x-ndjson") });
}

function valuePieces(value: Uint8Array): (string | Uint8Array)[] {
  if (!value.includes(LINE_BREAK) && !value.includes(CARRIAGE_RETURN)) return ['"value":', value];
  return [`"valueText":${JSON.stringify(new TextDecoder().decode(value))}`];
}
