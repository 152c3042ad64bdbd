// Answers the pages that another replica (or this one) compares by.
// Guarantees: the tenant's route revision is recorded before anything is read, so that no write by an older route comes after it; a
// record is told only when it is known at first hand or by a filling that is complete. Must not: change rows.
import type { StorageEngine } from "../storage/types.ts";
import { SYNC_PAGE_BYTES } from "./limits.ts";
import { decodeRecord, encodeAnswer } from "./records.ts";
import type { ReplicaFacts } from "./replica.ts";
import { digestOf, type Page, type PageRequest, readPageRequest, writePage } from "./sync-frames.ts";

export interface SyncSourceOptions {
  readonly engine: StorageEngine;
  readonly actor: number;
  readonly facts: Pick<ReplicaFacts, "isRebuilding" | "isFilled">;
  /** Durable when the answer leaves. */
  readonly recordRoute: (tenant: number, revision: number) => void;
  readonly routes: () => Page["routes"];
}

export async function answerPage(options: SyncSourceOptions, request: Uint8Array): Promise<Uint8Array> {
  const asked = readPageRequest(request);
  const { facts, actor } = options;
  if (asked.tenant !== undefined) options.recordRoute(asked.tenant, asked.routeRevision);
  const head = { actor, isRebuilding: facts.isRebuilding(), done: true, rows: [], records: [], routes: [] };
  if (asked.limit === 0) return writePage(head);
  if (asked.kind === "routes") return writePage({ ...head, routes: options.routes() });
  const page: Page =
    asked.kind === "rows" ? await rowPage(options, asked, head) : await recordsPage(options, asked, head);
  return writePage(page);
}

async function rowPage({ engine }: SyncSourceOptions, asked: PageRequest, head: Page): Promise<Page> {
  const page = await engine.scan({
    fromTokenHi: asked.from,
    toTokenHi: asked.to,
    limitRows: asked.limit,
    limitBytes: SYNC_PAGE_BYTES,
    ...(asked.tenant === undefined ? {} : { tenant: asked.tenant }),
    ...(asked.afterRow ? { after: asked.afterRow } : {}),
  });
  return { ...head, done: page.done, rows: page.rows.map(({ row, value }) => digestOf(row, value)) };
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
