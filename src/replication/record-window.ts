// Takes over what a source remembers of one window of write ids. Must not: decide when it counts.
import type { RecordKey } from "../storage/types.ts";
import { SYNC_PAGE_RECORDS } from "./limits.ts";
import { decodeRecord, type StoredRecord } from "./records.ts";
import type { Page, PageRequest } from "./sync-frames.ts";
import type { Members } from "./sync-plan.ts";

export interface RecordWindow {
  readonly nodeId: string;
  readonly window: number;
  /** Parts that the space of write ids is read in. */
  readonly windows: number;
  /** Only this tenant's; undefined = all. */
  readonly tenant: number | undefined;
  readonly page: (nodeId: string, asked: Omit<PageRequest, "tenant" | "routeRevision">) => Promise<Page>;
  readonly membersOf: (place: { tenant: number; hi: number }) => Promise<Members | undefined>;
  readonly take: (records: readonly { readonly key: RecordKey; readonly record: StoredRecord }[]) => void;
}

/** Returns how many were taken. */
export async function takeRecordWindow(options: RecordWindow): Promise<number> {
  const { nodeId, window, windows, tenant, page: ask, membersOf, take } = options;
  const width = 2 ** 32 / windows;
  let count = 0;
  for (let after: RecordKey | undefined; ; ) {
    const page = await ask(nodeId, {
      kind: "records",
      from: window * width,
      to: (window + 1) * width - 1,
      limit: SYNC_PAGE_RECORDS,
      afterRecord: after,
    });
    const taken: { key: RecordKey; record: StoredRecord }[] = [];
    for (const { key, record: bytes } of page.records) {
      const record = bytes.length > 0 ? decodeRecord(bytes) : undefined;
      if (record?.place === undefined || (tenant !== undefined && key.tenant !== tenant)) continue;
      const members = await membersOf({ tenant: key.tenant, hi: record.place });
      // Of a node that is none of the row's replicas no row will be compared, so its word is not taken either.
      if (members?.all.includes(nodeId)) taken.push({ key, record });
    }
    if (taken.length > 0) take(taken);
    count += taken.length;
    after = page.records.at(-1)?.key;
    if (page.done || after === undefined) return count;
  }
}
