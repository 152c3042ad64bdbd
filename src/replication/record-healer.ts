// Restores what a node can no longer read of its idempotency records, from the other replicas of what each record is about.
// Guarantees: a record counts here only after the row it is about was compared with the same sources (spec RP-101): a remembered write
// that is missing would be taken for superseded (KV-7). As in a filling, what is not remembered yet is not asked for meanwhile. Sources are all other nodes, so that whatever a majority acknowledged is among
// what they remember. Must not: give anything up; the healer does.
import type { TenantRoute } from "../access/types.ts";
import type { Ring } from "../cluster/ring.ts";
import type { CorruptRange, RecordKey, RowKey } from "../storage/types.ts";
import { SYNC_PAGE_RECORDS, SYNC_PAGE_ROWS, SYNC_REPAIR_ROWS } from "./limits.ts";
import { decodeRecord, joinRecords, type StoredRecord } from "./records.ts";
import { type CallReplica, repairRows } from "./row-repair.ts";
import { joinDigests, sameDigest } from "./sync-digests.ts";
import { type Page, type PageRequest, readPage, writePageRequest } from "./sync-frames.ts";
import type { SyncEnvironment } from "./sync-job.ts";
import { membersOf } from "./sync-plan.ts";

export interface RecordHealerOptions {
  readonly environment: Pick<SyncEnvironment, "self" | "routeOf" | "page" | "call" | "horizon">;
  /** False while the node is being rebuilt: it learns all records then. */
  readonly mayHeal: () => boolean;
  readonly now: () => number;
  /** How old a block must be: what was acknowledged just before may still be on its way to the others. Ms. */
  readonly healAfterMs: number;
  /** Which of these stand in a block that cannot be read, and nowhere else. */
  readonly unreadable: (keys: readonly RecordKey[]) => Promise<readonly RecordKey[]>;
  /** A frame to this node itself, for which records that cannot be read count as not heard of. */
  readonly healRows: (frame: Uint8Array) => Promise<Uint8Array>;
  /** Takes over those that are still unreadable, in one commit. */
  readonly restore: (records: readonly { readonly key: RecordKey; readonly record: StoredRecord }[]) => Promise<void>;
}

interface Heard {
  readonly key: RecordKey;
  record: StoredRecord;
  readonly members: readonly string[];
  readonly route: TenantRoute;
}

/** Thrown where the others do not answer as they must; it is tried again. */
class SourceAway extends Error {
  override readonly name = "SourceAway";
}

export class RecordHealer {
  readonly #options: RecordHealerOptions;
  /** Of this try. */
  readonly #routes = new Map<number, TenantRoute | undefined>();
  readonly #actors = new Map<string, number>();

  constructor(options: RecordHealerOptions) {
    this.#options = options;
  }

  /** True when every record of the range that another node remembers is readable here again. Rejects when one of them is away. */
  async heal(range: CorruptRange, ring: Ring, others: readonly string[]): Promise<boolean> {
    const { mayHeal, now, healAfterMs } = this.#options;
    if (!mayHeal() || range.newestMs + healAfterMs > now()) return false;
    this.#routes.clear();
    this.#actors.clear();
    const last = range.to?.token.hi ?? range.lastToken.hi;
    for (let from = range.from?.token.hi ?? 0; from <= last; ) {
      const { upTo, pages } = await this.#recordsOf(others, from, last);
      if (!(await this.#take(pages, ring))) return false;
      from = upTo + 1;
    }
    return true;
  }

  /** What each node remembers under hashes from `from` to `upTo`, which is as far as one page of each goes. */
  async #recordsOf(
    others: readonly string[],
    from: number,
    last: number,
  ): Promise<{ upTo: number; pages: readonly { id: string; records: Page["records"] }[] }> {
    const ask = (id: string, to: number, afterRecord?: RecordKey): Promise<Page> =>
      this.#page(id, { kind: "records", from, to, limit: SYNC_PAGE_RECORDS, afterRecord });
    for (let upTo = last; ; upTo = from + Math.floor((upTo - from) / 2)) {
      const pages = await Promise.all(others.map(async (id) => ({ id, page: await ask(id, upTo) })));
      if (upTo > from && pages.some(({ page }) => !page.done)) continue;
      const all = pages.map(async ({ id, page }) => {
        const records = [...page.records];
        // All under one hash, which clients can bring about: page after page.
        for (let more = page; !more.done; records.push(...more.records))
          more = await ask(id, upTo, records.at(-1)?.key);
        return { id, records };
      });
      return { upTo, pages: await Promise.all(all) };
    }
  }

  async #page(
    nodeId: string,
    asked: Omit<PageRequest, "tenant" | "routeRevision"> & Partial<PageRequest>,
  ): Promise<Page> {
    const { page: ask, horizon, self } = this.#options.environment;
    const page = readPage(await ask(nodeId, writePageRequest({ tenant: undefined, routeRevision: 0, ...asked })));
    const known = this.#actors.get(nodeId) ?? page.actor;
    this.#actors.set(nodeId, known);
    if (page.actor !== known) throw new SourceAway(`${nodeId} is not what it was`);
    if (page.isRebuilding) throw new SourceAway(`${nodeId} is being rebuilt`);
    if (page.horizon !== horizon()) throw new SourceAway(`${nodeId} and ${self} have not heard of the same purge`);
    return page;
  }

  /** False where something was heard that cannot be placed. */
  async #take(pages: readonly { id: string; records: Page["records"] }[], ring: Ring): Promise<boolean> {
    const { unreadable, restore } = this.#options;
    const heard = new Map<string, Heard>();
    let isWhole = true;
    for (const { id, records } of pages) {
      for (const { key, record: bytes } of records) {
        const record = bytes.length > 0 ? decodeRecord(bytes) : undefined;
        if (!record) continue;
        const name = `${key.tenant} ${key.writeId.join()}`;
        const before = heard.get(name);
        if (before?.members.includes(id)) before.record = joinRecords(before.record, record);
        if (before) continue;
        const route = await this.#route(key.tenant);
        if (!route) continue;
        // Of builds that noted no place: what it is about is not known.
        if (record.place === undefined) isWhole = false;
        else {
          const members = membersOf(ring, { hi: record.place, lo: 0 }, route).all;
          if (members.includes(id)) heard.set(name, { key, record, members, route });
        }
      }
    }
    const { self } = this.#options.environment;
    const mine = [...heard.values()].filter(({ members }) => members.includes(self));
    const missing = new Set((await unreadable(mine.map(({ key }) => key))).map((key) => key));
    const due = mine.filter(({ key }) => missing.has(key));
    await this.#compareRows(due);
    if (due.length > 0) await restore(due);
    return isWhole;
  }

  /** Brings the rows at the places of these records to agreement between all of their replicas. */
  async #compareRows(due: readonly Heard[]): Promise<void> {
    const { environment, healRows } = this.#options;
    const call: CallReplica = (id, frame) => (id === environment.self ? healRows(frame) : environment.call(id, frame));
    const places = new Map(due.map((heard) => [`${heard.key.tenant} ${heard.record.place}`, heard]));
    for (const { key, record, members, route } of places.values()) {
      const hi = record.place!;
      const asked = { kind: "rows", from: hi, to: hi, limit: SYNC_PAGE_ROWS } as const;
      const of = { tenant: key.tenant, routeRevision: route.routeRevision ?? 0 };
      let after: RowKey | undefined;
      do {
        const afterRow = after;
        const pages = await Promise.all(members.map((id) => this.#page(id, { ...asked, ...of, afterRow })));
        const joined = joinDigests(pages);
        const different = joined.rows.filter((digests) => !digests.every((each) => sameDigest(each, digests[0])));
        const rows = different.map((digests) => ({ row: digests.find((each) => each)!.row, nodes: members }));
        for (let i = 0; i < rows.length; i += SYNC_REPAIR_ROWS)
          await repairRows(rows.slice(i, i + SYNC_REPAIR_ROWS), call);
        after = joined.after;
      } while (after);
    }
  }

  async #route(tenant: number): Promise<TenantRoute | undefined> {
    if (!this.#routes.has(tenant)) this.#routes.set(tenant, await this.#options.environment.routeOf(tenant));
    return this.#routes.get(tenant);
  }
}
