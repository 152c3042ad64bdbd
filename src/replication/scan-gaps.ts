// What a page of a tenant's rows may lack because blocks are unreadable: found at each node, judged over all of them.
// Guarantees: a row counts as read only when so many of its replicas could say what they hold of it as a quorum needs; a stretch
// without a gap lacks nothing. Must not: guess which keys an unreadable block held; nobody knows.
import type { Ring } from "../cluster/ring.ts";
import { CorruptBlock, type CorruptRange, type RowKey, type ScanPage, type StorageEngine } from "../storage/types.ts";
import { whenResident } from "./residency.ts";
import { compareTokens, type Gap, type GappyPage, type JoinedPage, UNREADABLE } from "./scan-frames.ts";
import { majority } from "./tally.ts";

/** A node's page with what it cannot read marked: rows that only an unreadable block could tell have the value {@link UNREADABLE}. */
export async function markUnreadable(
  engine: StorageEngine & { corruptRanges(): readonly CorruptRange[] },
  page: ScanPage,
  { tenant, after }: { readonly tenant: number; readonly after: RowKey | undefined },
): Promise<GappyPage> {
  const last = page.done ? undefined : page.rows.at(-1)?.row;
  const gaps = engine
    .corruptRanges()
    .filter(({ kind, tenants }) => kind === "row" && (tenants?.includes(tenant) ?? true))
    .map((range): Gap => ({ from: range.from?.token ?? { hi: 0, lo: 0 }, to: range.to?.token ?? range.lastToken }))
    .filter(({ to }) => !after || compareTokens(to, after.token) >= 0)
    .filter(({ from }) => !last || compareTokens(from, last.token) <= 0);
  if (gaps.length === 0) return { ...page, gaps };
  const inGap = page.rows.filter(({ row }) => gaps.some((gap) => isIn(gap, row))).map(({ row }) => row);
  const gets = inGap.map((row) => ({ kind: "get" as const, row }));
  const lost = new Set(await whenResident(engine, gets, () => inGap.filter((row) => !isReadable(engine, row))));
  const rows = page.rows.map(({ row, value }) => ({ row, value: lost.has(row) ? UNREADABLE : value }));
  return { rows, done: page.done, gaps };
}

function isReadable(engine: StorageEngine, row: RowKey): boolean {
  try {
    engine.get(row);
    return true;
  } catch (error) {
    if (error instanceof CorruptBlock) return false;
    throw error;
  }
}

const isIn = ({ from, to }: Gap, { token }: RowKey): boolean =>
  compareTokens(from, token) <= 0 && compareTokens(token, to) <= 0;

/** Unreadable stretches of one node's tokens, both ends inclusive. */
export interface LostRange extends Gap {
  readonly nodeId: string;
}

export interface Lost {
  /** Keys that are known, but not what stands under them. */
  readonly rows: ReadonlySet<RowKey>;
  /** Where keys may stand that nobody can name. */
  readonly ranges: readonly LostRange[];
}

export interface JudgeInput {
  /** Node id → its page; a node that is away has none. */
  readonly pages: ReadonlyMap<string, GappyPage>;
  readonly joined: JoinedPage;
  readonly after: RowKey | undefined;
  readonly ring: Ring;
  readonly replicationFactor: number;
}

const nameOf = ({ token, key }: RowKey): string => `${token.hi}.${token.lo}.${key}`;

/** What of the joined page cannot be told; undefined = nothing. */
export function lostOf({ pages, joined, after, ring, replicationFactor }: JudgeInput): Lost | undefined {
  if ([...pages.values()].every(({ gaps }) => gaps.length === 0)) return undefined;
  const bearable = replicationFactor - majority(replicationFactor);
  const told = new Map([...pages].map(([id, page]) => [id, toldBy(page)]));
  const isMute = (id: string, row: RowKey): boolean => {
    const page = pages.get(id);
    return page === undefined || (page.gaps.some((gap) => isIn(gap, row)) && !told.get(id)!.has(nameOf(row)));
  };
  const rows = joined.rows
    .map(({ row }) => row)
    .filter((row) => {
      const { read } = ring.replicas(row.token, replicationFactor);
      return read.filter((id) => isMute(id, row)).length > bearable;
    });
  const ranges: LostRange[] = [];
  for (const [nodeId, { gaps }] of pages) {
    for (const gap of gaps) {
      const isLater = joined.after !== undefined && compareTokens(gap.from, joined.after.token) > 0;
      const isEarlier = after !== undefined && compareTokens(gap.to, after.token) < 0;
      if (isLater || isEarlier) continue;
      if (mayHide(gap, nodeId, { pages, ring, replicationFactor, bearable })) ranges.push({ nodeId, ...gap });
    }
  }
  return rows.length === 0 && ranges.length === 0 ? undefined : { rows: new Set(rows), ranges };
}

/** Keys a node named with their value. */
function toldBy(page: GappyPage): Set<string> {
  if (page.gaps.length === 0) return new Set();
  return new Set(page.rows.filter(({ value }) => value.length > 0).map(({ row }) => nameOf(row)));
}

/** May keys stand in the gap of which too few replicas can tell? Judged by the high words of tokens, as the ring is. */
function mayHide(
  gap: Gap,
  nodeId: string,
  {
    pages,
    ring,
    replicationFactor,
    bearable,
  }: Pick<JudgeInput, "pages" | "ring" | "replicationFactor"> & { bearable: number },
): boolean {
  for (const { fromHi, toHi } of ring.ranges()) {
    const from = Math.max(fromHi, gap.from.hi);
    const to = Math.min(toHi, gap.to.hi);
    if (from > to) continue;
    const { read } = ring.replicas({ hi: toHi, lo: 0 }, replicationFactor);
    if (!read.includes(nodeId)) continue;
    const overlaps = (other: Gap): boolean => other.from.hi <= to && other.to.hi >= from;
    const mute = read.filter((id) => pages.get(id)?.gaps.some(overlaps) ?? true);
    if (mute.length > bearable) return true;
  }
  return false;
}
