// `client.config.observe`: who leads an election, as it changes.
// Guarantees: every leader since the iteration began, in order, unless its time was compacted away. Must not: stand for election.
import type { Leader } from "./config-locks.ts";
import type { ConfigEntry, ConfigPage, ConfigRange } from "./config-types.ts";
import type { ConfigWatch } from "./config-watch.ts";
import { isCompacted } from "./errors.ts";

export interface Observed<T> {
  readonly page: (range: ConfigRange & { readonly cursor: string | undefined }) => Promise<ConfigPage<T>>;
  readonly watch: (range: ConfigRange, startRevision: number) => ConfigWatch<T>;
}

/** Undefined: nobody leads. */
export async function* observed<T>(
  name: string,
  { page, watch }: Observed<T>,
): AsyncGenerator<Leader<T> | undefined, void, undefined> {
  const range = { prefix: `${name}/` };
  let shown: ConfigEntry<T> | undefined | null = null;
  for (;;) {
    const line = new Map<string, ConfigEntry<T>>();
    let cursor: string | undefined;
    let revision = 0;
    do {
      const read: ConfigPage<T> = await page({ ...range, cursor });
      for (const entry of read.items) line.set(String(entry.key), entry);
      revision = read.revision;
      cursor = read.cursor ?? undefined;
    } while (cursor !== undefined);
    const isNew = (first: ConfigEntry<T> | undefined) =>
      shown === null || shown?.modRevision !== first?.modRevision || shown?.key !== first?.key;
    let first = firstOf(line);
    if (isNew(first)) {
      shown = first;
      yield leaderOf(first);
    }
    try {
      for await (const { events } of watch(range, revision + 1)) {
        for (const event of events) {
          if (event.type === "put") line.set(String(event.key), event.entry);
          else line.delete(String(event.key));
        }
        first = firstOf(line);
        if (!isNew(first)) continue;
        shown = first;
        yield leaderOf(first);
      }
      return;
    } catch (error) {
      if (!isCompacted(error)) throw error;
    }
  }
}

/** The least createRevision leads. */
function firstOf<T>(line: ReadonlyMap<string, ConfigEntry<T>>): ConfigEntry<T> | undefined {
  let first: ConfigEntry<T> | undefined;
  for (const entry of line.values()) if (!first || entry.createRevision < first.createRevision) first = entry;
  return first;
}

function leaderOf<T>(entry: ConfigEntry<T> | undefined): Leader<T> | undefined {
  if (!entry) return undefined;
  const { key, leaseId = "", createRevision, value } = entry;
  const said = value instanceof Uint8Array && value.length === 0 ? (undefined as T) : value;
  return { key: String(key), leaseId, fencingToken: createRevision, value: said };
}
