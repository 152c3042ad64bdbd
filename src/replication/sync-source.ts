// Answers the pages that another replica (or this one) compares by.
// Guarantees: the tenant's route revision is recorded before anything is read, so that no write by an older route comes after it; a
// record is told only when it is known at first hand or by a filling that is complete. Must not: change rows.
import { isPurgeable } from "../kv/purge.ts";
import type { ScanPage, StorageEngine } from "../storage/types.ts";
import type { ReplicaFacts } from "./facts.ts";
import { SYNC_PAGE_BYTES } from "./limits.ts";
import type { RangeDigests } from "./range-digests.ts";
import { decodeRecord, encodeAnswer } from "./records.ts";
import { digestOf, type Page, type PageRequest, readPageRequest, writePage } from "./sync-frames.ts";

export interface SyncSourceOptions {
  readonly engine: StorageEngine;
  readonly actor: number;
  /** Of what the engine holds. */
  readonly digests: RangeDigests;
  readonly facts: Pick<ReplicaFacts, "isRebuilding" | "isFilled" | "purgeHorizon" | "routeRevision">;
  /** Durable when the answer leaves. */
  readonly recordRoute: (tenant: number, revision: number) => void;
  readonly routes: () => Page["routes"];
}

export async function answerPage(options: SyncSourceOptions, request: Uint8Array): Promise<Uint8Array> {
  const asked = readPageRequest(request);
  const { facts, actor } = options;
  if (asked.tenant !== undefined) options.recordRoute(asked.tenant, asked.routeRevision);
  const standing = { isRebuilding: facts.isRebuilding(), horizon: facts.purgeHorizon() };
  const head = { actor, ...standing, done: true, rows: [], records: [], routes: [] };
  if (asked.limit === 0) return writePage(head);
  if (asked.kind === "routes") return writePage({ ...head, routes: options.routes() });
  if (asked.kind === "digests") return writePage(await digestsPage(options, asked, head));
  const page: Page =
    asked.kind === "rows" ? await rowPage(options, asked, head) : await recordsPage(options, asked, head);
  return writePage(page);
}

function revisionsOf(facts: SyncSourceOptions["facts"], tenants: Iterable<number>): Page["routes"] {
  const routes = [...new Set(tenants)].map((tenant) => ({ tenant, revision: facts.routeRevision(tenant) }));
  return routes.filter(({ revision }) => revision > 0);
}

async function digestsPage({ digests, facts }: SyncSourceOptions, asked: PageRequest, head: Page): Promise<Page> {
  const { parts = [], isFresh = false, limit: limitRows } = asked;
  const answer = await digests.answer(parts, { isFresh, horizon: head.horizon, limitRows });
  const tenants = answer.parts.flatMap((part) => part.digests.map(({ tenant }) => tenant));
  return { ...head, ...answer, routes: revisionsOf(facts, tenants) };
}

/** A page ends with the last row that is seen, or at the end of the range: purged rows behind it are passed over. */
async function rowPage({ engine, facts }: SyncSourceOptions, asked: PageRequest, head: Page): Promise<Page> {
  for (let after = asked.afterRow; ; ) {
    const page: ScanPage = await engine.scan({
      fromTokenHi: asked.from,
      toTokenHi: asked.to,
      limitRows: asked.limit,
      limitBytes: SYNC_PAGE_BYTES,
      ...(asked.tenant === undefined ? {} : { tenant: asked.tenant }),
      ...(after ? { after } : {}),
    });
    // One horizon for the whole page, the one that its head names.
    const seen = page.rows.filter(({ value }) => !isPurgeable(value, head.horizon));
    after = page.rows.at(-1)?.row;
    if (seen.length === 0 && !page.done) continue;
    return {
      ...head,
      done: page.done,
      rows: seen.map(({ row, value }) => digestOf(row, value)),
      routes: revisionsOf(
        facts,
        seen.map(({ row }) => row.tenant),
      ),
    };
  }
}

async function recordsPage({ engine, facts }: SyncSourceOptions, asked: PageRequest, head: Page): Promise<Page> {
  const page = await engine.scanRecords({
    fromHash: asked.from,
    toHash: asked.to,
    limitRows: asked.limit,
    ...(asked.afterRecord ? { after: asked.afterRecord } : {}),
  });
  const records: Page["records"][number][] = [];
  for (const { key, answer } of page.records) {
    const stored = decodeRecord(answer);
    if (stored?.kind === "hearsay") {
      // Known by now: told on as what it is. Not known yet: the page must still say where it ended.
      const record = facts.isFilled(stored.epoch) ? encodeAnswer(stored.place, stored.answer).slice() : EMPTY;
      records.push({ key, record });
    } else {
      records.push({ key, record: asked.tenant === undefined || key.tenant === asked.tenant ? answer : EMPTY });
    }
  }
  return { ...head, done: page.done, records };
}

/** Stands for a record that is not told; only its key is, as the place to go on from. */
const EMPTY = new Uint8Array(0);
