// Finds the next rows that may differ between replicas by digests of ranges: where these agree nothing more is asked, where they do not the range
// is cut in parts, and so on, until few rows are left to be compared one by one (docs/adr/0080).
// Guarantees: what it says is equal was equal at all members that the row's route names, tenant by tenant; each call gets on. Must not: change
// anything, or know how a node is reached.
import type { TokenRange } from "../cluster/ring.ts";
import { DIGEST_FANOUT } from "./limits.ts";
import type { DigestPart, Page, RangeDigest } from "./sync-frames.ts";
import type { Members, PlannedRange } from "./sync-plan.ts";

export interface ComparisonWays {
  /** Digests of ranges at a node. Rejects where it does not answer as it must. */
  ask(nodeId: string, parts: readonly TokenRange[]): Promise<Page>;
  /** Who must agree on a tenant's rows with this place; undefined = nobody, or none of this node's business. */
  membersOf(place: { tenant: number; hi: number; revision: number | undefined }): Promise<Members | undefined>;
  /** A range with no more rows than this is not cut any further. */
  readonly rowsCompared: number;
}

export interface FoundRange {
  /** Everything below is equal. */
  readonly nextHi: number;
  /** Rows from there to here are to be compared one by one; undefined = nothing was found, and it goes on there. */
  readonly rowsTo?: number | undefined;
  /** Of the ranges, those that were found equal before anything else. */
  readonly equalRanges: number;
  /** Rows that were found equal. */
  readonly rowCount: number;
  /** Rows that were read for it, at the node that read most. */
  readonly rowsRead: number;
}

/** What the members of a range said of it. */
interface Answers {
  readonly range: PlannedRange;
  /** In the order of the members; undefined = left out. */
  readonly parts: readonly (DigestPart | undefined)[];
  /** Tenant → the newest revision of its route that a member recorded. */
  readonly revisions: ReadonlyMap<number, number>;
}

/** Up to where all members have answered; below the range where one has not at all. */
function coveredTo({ range, parts }: Answers): number {
  return Math.min(...parts.map((part) => part?.toHi ?? range.fromHi - 1));
}

function sameDigest(a: RangeDigest | undefined, b: RangeDigest | undefined): boolean {
  return a?.hi === b?.hi && a?.lo === b?.lo && a?.count === b?.count;
}

const of = (part: DigestPart | undefined, tenant: number): RangeDigest | undefined =>
  part?.digests.find((digest) => digest.tenant === tenant);

/** The rows of a range, of each tenant at the member that has most. */
function rowCountOf({ parts }: Answers): number {
  const counts = new Map<number, number>();
  for (const { tenant, count } of parts.flatMap((part) => part?.digests ?? []))
    counts.set(tenant, Math.max(count, counts.get(tenant) ?? 0));
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

/** Cuts where powers of two are, so that parts are whole leaves as long as they are larger. */
export function partsOf({ fromHi, toHi, members }: PlannedRange): PlannedRange[] {
  const width = 2 ** Math.ceil(Math.log2(Math.max(1, (toHi - fromHi + 1) / DIGEST_FANOUT)));
  const parts: PlannedRange[] = [];
  for (let from = fromHi; from <= toHi; ) {
    const to = Math.min(toHi, (Math.floor(from / width) + 1) * width - 1);
    parts.push({ fromHi: from, toHi: to, members });
    from = to + 1;
  }
  return parts;
}

export class RangeComparison {
  readonly #ways: ComparisonWays;
  #equalRanges = 0;
  #rowCount = 0;
  #rowsRead = 0;

  constructor(ways: ComparisonWays) {
    this.#ways = ways;
  }

  /** `ranges`: ascending, at least one; the members of each are those that are asked, and the same for all of its rows. */
  async next(ranges: readonly PlannedRange[]): Promise<FoundRange> {
    const asked = await this.#askAll(ranges);
    for (const [i, held] of asked.entries()) {
      const { range } = held;
      const answers = i === 0 ? await this.#whole(held) : held;
      if (coveredTo(answers) < answers.range.toHi) return this.#found(range.fromHi);
      if (await this.differs(answers)) return this.#within(answers);
      this.#rowCount += rowCountOf(answers);
      if (answers.range.toHi < range.toHi) return this.#found(answers.range.toHi + 1);
      this.#equalRanges++;
    }
    return this.#found(ranges.at(-1)!.toHi + 1);
  }

  #found(nextHi: number, rowsTo?: number): FoundRange {
    const [equalRanges, rowCount, rowsRead] = [this.#equalRanges, this.#rowCount, this.#rowsRead];
    return { nextHi, rowsTo, equalRanges, rowCount, rowsRead };
  }

  /** Where members got differently far, those that got furthest are asked for what all have. */
  async #whole(answers: Answers): Promise<Answers> {
    const toHi = coveredTo(answers);
    const { range, parts } = answers;
    if (toHi === range.toHi) return answers;
    const further = range.members.filter((_, i) => parts[i] && parts[i].toHi > toHi);
    const [again] = further.length > 0 ? await this.#askAll([{ fromHi: range.fromHi, toHi, members: further }]) : [];
    return {
      range: { ...range, toHi },
      parts: parts.map((part, i) => (part?.toHi === toHi ? part : again!.parts[further.indexOf(range.members[i]!)])),
      revisions: answers.revisions,
    };
  }

  /** One request to each node, for the ranges of which it is a member. */
  async #askAll(ranges: readonly PlannedRange[]): Promise<Answers[]> {
    const nodes = [...new Set(ranges.flatMap(({ members }) => members))];
    const revisions = new Map<number, number>();
    const told = new Map<string, ReadonlyMap<PlannedRange, DigestPart>>();
    let rowsRead = 0;
    await Promise.all(
      nodes.map(async (id) => {
        const own = ranges.filter(({ members }) => members.includes(id));
        const page = await this.#ways.ask(
          id,
          own.map(({ fromHi, toHi }) => ({ fromHi, toHi })),
        );
        rowsRead = Math.max(rowsRead, page.rowsRead ?? 0);
        for (const { tenant, revision } of page.routes)
          revisions.set(tenant, Math.max(revision, revisions.get(tenant) ?? 0));
        told.set(id, new Map((page.parts ?? []).map((part, i) => [own[i]!, part])));
      }),
    );
    this.#rowsRead += rowsRead;
    return ranges.map((range) => ({
      ...{ range, revisions },
      parts: range.members.map((id) => told.get(id)!.get(range)),
    }));
  }

  /** Do those disagree that should hold the same? */
  async differs({ range, parts, revisions }: Answers): Promise<boolean> {
    for (const tenant of new Set(parts.flatMap((part) => part?.digests.map((digest) => digest.tenant) ?? []))) {
      // Where all agree, so do those that the route names.
      if (parts.every((part) => sameDigest(of(part, tenant), of(parts[0], tenant)))) continue;
      const members = await this.#ways.membersOf({ tenant, hi: range.toHi, revision: revisions.get(tenant) });
      const held = range.members.flatMap((id, i) => (members?.all.includes(id) ? [of(parts[i], tenant)] : []));
      if (!held.every((digest) => sameDigest(digest, held[0]))) return true;
    }
    return false;
  }

  /** The first rows that may differ within a range that does. */
  async #within(answers: Answers): Promise<FoundRange> {
    let { range } = answers;
    let rowCount = rowCountOf(answers);
    for (;;) {
      const { fromHi, toHi } = range;
      if (rowCount <= this.#ways.rowsCompared || fromHi === toHi) return this.#found(fromHi, toHi);
      const parts = await this.#askAll(partsOf(range));
      let first: Answers | undefined;
      let differing = 0;
      for (const part of parts) {
        // Much was written meanwhile: too much to be read for one answer.
        if (coveredTo(part) < part.range.toHi) {
          if (first) break;
          return this.#found(part.range.fromHi, part.range.fromHi === fromHi ? toHi : undefined);
        }
        if (await this.differs(part)) {
          first ??= part;
          differing++;
        } else if (!first) this.#rowCount += rowCountOf(part);
      }
      if (!first) return this.#found(toHi + 1);
      // Where most parts differ, asking for their digests costs more than it spares.
      if (differing > parts.length / 2) return this.#found(first.range.fromHi, toHi);
      range = first.range;
      rowCount = rowCountOf(first);
    }
  }
}
