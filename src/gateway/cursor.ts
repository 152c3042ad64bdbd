// Cursors of lists: opaque to clients, the name of the last item to us.
// Guarantees: whatever is not one of ours is `invalidRequest`; a cursor grants nothing, so it needs no signature.
import { z } from "@hono/zod-openapi";
import { base64UrlOf } from "../access/api-key.ts";
import { DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS } from "../access/limits.ts";
import { invalidRequest } from "./issues.ts";

const PREFIX = "1:";
const CURSOR = /^[A-Za-z0-9_-]{1,400}$/;

/** A number from 1 to `most` as a query gives it: digits only, so that `1e2` and `0x10` are no numbers. */
export function wholeNumberText(most: number) {
  return z
    .string()
    .regex(/^[0-9]{1,15}$/, "must be a whole number")
    .transform(Number)
    .pipe(z.int().min(1).max(most))
    .openapi({ type: "integer", minimum: 1, maximum: most });
}

export const pageQuery = z.strictObject({
  limit: wholeNumberText(MAX_PAGE_ITEMS).default(DEFAULT_PAGE_ITEMS).openapi({ description: "Items a page." }),
  cursor: z.string().optional().openapi({ description: "The `cursor` of the page before." }),
});

export function cursorOf(lastName: string): string {
  return base64UrlOf(new TextEncoder().encode(PREFIX + lastName));
}

/** The name to go on after; empty = from the beginning. */
export function afterCursor(cursor: string | undefined): string {
  if (cursor === undefined) return "";
  const refuse = () => invalidRequest([{ path: "cursor", message: "is not one that an earlier page returned" }]);
  if (!CURSOR.test(cursor)) throw refuse();
  let text: string;
  try {
    const binary = atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.from(binary, (c) => c.charCodeAt(0)),
    );
  } catch {
    throw refuse();
  }
  if (!text.startsWith(PREFIX)) throw refuse();
  return text.slice(PREFIX.length);
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly cursor: string | null;
}

/** `rows` = up to `limit + 1` of them: the one too many tells that there are more. */
export function pageOf<Row, T>(
  rows: readonly Row[],
  limit: number,
  shape: { readonly name: (row: Row) => string; readonly item: (row: Row) => T },
): Page<T> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const hasMore = rows.length > limit && last !== undefined;
  return { items: shown.map(shape.item), cursor: hasMore ? cursorOf(shape.name(last)) : null };
}
