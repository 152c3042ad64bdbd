// Lists over several pages as async iterators.
// Guarantees: stops at the last page; a server that repeats a cursor ends in an error, not in an endless loop.
import { JadeError } from "./errors.ts";
import type { Page } from "./types.ts";

export async function* eachItem<T>(
  firstCursor: string | undefined,
  page: (cursor: string | undefined) => Promise<Page<T>>,
): AsyncGenerator<T, void, undefined> {
  let cursor = firstCursor;
  for (;;) {
    const { items, cursor: next } = await page(cursor);
    yield* items;
    if (next === null) return;
    if (next === cursor) throw new JadeError("badAnswer", "the list repeats its cursor");
    cursor = next;
  }
}
