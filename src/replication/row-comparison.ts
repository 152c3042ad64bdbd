// Which rows of the replicas' pages differ. Must not: bring them to agreement.
import type { RowKey } from "../storage/types.ts";
import type { RowToRepair } from "./row-repair.ts";
import { joinDigests, sameDigest } from "./sync-digests.ts";
import type { Page, RowDigest } from "./sync-frames.ts";
import type { Members, SyncKind } from "./sync-plan.ts";

export interface RowPages {
  readonly kind: SyncKind;
  /** In the order of the pages. */
  readonly nodes: readonly string[];
  readonly pages: readonly Page[];
  readonly membersOf: (place: {
    tenant: number;
    hi: number;
    revision: number | undefined;
  }) => Promise<Members | undefined>;
}

export interface ComparedRows {
  readonly rowCount: number;
  readonly different: readonly RowToRepair[];
  /** Where the next page starts after; undefined = nothing follows. */
  readonly after: RowKey | undefined;
}

export async function compareRowPages({ kind, nodes, pages, membersOf }: RowPages): Promise<ComparedRows> {
  const { rows, after } = joinDigests(pages);
  // A replica that joined since the route was asked for must be compared too; the others know of it (RP-40).
  const revisions = new Map<number, number>();
  for (const { tenant, revision } of kind === "repair" ? pages.flatMap((page) => page.routes) : [])
    revisions.set(tenant, Math.max(revision, revisions.get(tenant) ?? 0));
  const different: RowToRepair[] = [];
  for (const digests of rows) {
    const { row } = digests.find((digest) => digest !== undefined)!;
    const members = await membersOf({ tenant: row.tenant, hi: row.token.hi, revision: revisions.get(row.tenant) });
    if (!members) continue;
    const part = nodes.flatMap((id, i) => (members.all.includes(id) ? [{ id, digest: digests[i] }] : []));
    if (part.every(({ digest }) => sameDigest(digest, part[0]!.digest))) continue;
    different.push({ row, nodes: concerned(row, part) });
  }
  return { rowCount: rows.length, different, after };
}

/** Ranges that follow each other, up to the first whose page does not reach its end; `ranges`: how many of them. */
export async function compareRanges(read: readonly RowPages[]): Promise<ComparedRows & { readonly ranges: number }> {
  const different: RowToRepair[] = [];
  let rowCount = 0;
  let ranges = 0;
  let after: RowKey | undefined;
  for (; ranges < read.length && !after; ranges++) {
    const compared = await compareRowPages(read[ranges]!);
    rowCount += compared.rowCount;
    different.push(...compared.different);
    ({ after } = compared);
  }
  return { rowCount, different, after, ranges };
}

/** Where those that hold the row hold the same, one of them tells it to those that lack it: each row another, so that all do. */
function concerned(
  { token }: RowKey,
  part: readonly { readonly id: string; readonly digest: RowDigest | undefined }[],
): readonly string[] {
  const held = part.filter(({ digest }) => digest !== undefined);
  if (!held.every(({ digest }) => sameDigest(digest, held[0]!.digest))) return part.map(({ id }) => id);
  const lacking = part.filter(({ digest }) => digest === undefined);
  return [held[token.lo % held.length]!, ...lacking].map(({ id }) => id);
}
