// `jade-db export`: all keys of a tenant into a JSONL file, resumable.
// Guarantees: every line is whole; the state never claims bytes that are not on disk; keys that exist from start to end are in it.
import { closeSync, fsyncSync, ftruncateSync, openSync, writeSync } from "node:fs";
import type { ExportPage, JadeClient, SkippedData } from "../../client/index.ts";
import { isNotFound } from "../../client/index.ts";
import { CommandFailure, UsageError } from "../exit-codes.ts";
import { entryLine } from "./jsonl.ts";
import { Progress } from "./progress.ts";
import { type ExportState, readState, removeState, statePath, writeState } from "./state-file.ts";

export interface ExportOptions {
  readonly client: JadeClient;
  readonly url: string;
  readonly file: string;
  readonly pageSize: number;
  readonly restart: boolean;
  /** Go on past what no intact copies are left of. */
  readonly skipCorrupt?: boolean | undefined;
}

export interface Exported {
  readonly keys: number;
  readonly skipped: SkippedData;
}

async function nextPage(options: ExportOptions, cursor: string | undefined): Promise<ExportPage> {
  const { client, pageSize, skipCorrupt } = options;
  try {
    return await client.kv.exportPage({ limit: pageSize, cursor, ...(skipCorrupt ? { onCorrupt: "skip" } : {}) });
  } catch (error) {
    if (isNotFound(error))
      throw new CommandFailure("this server has no export (GET /v1/key-value/export); it needs a newer version");
    throw error;
  }
}

/** A range reaches over several pages, and each of them names it. */
function joinSkipped(held: SkippedData, more: SkippedData | undefined): SkippedData {
  if (!more) return held;
  const ranges = new Map([...held.ranges, ...more.ranges].map((range) => [JSON.stringify(range), range]));
  return { ranges: [...ranges.values()], keys: [...new Set([...held.keys, ...more.keys])] };
}

function startState(options: ExportOptions): ExportState | undefined {
  const held = options.restart ? undefined : readState<ExportState>(statePath(options.file, "export"), "export");
  if (held && held.url !== options.url) {
    throw new UsageError(
      `the export that stopped read from ${held.url}, not ${options.url}; say --restart to begin anew`,
    );
  }
  return held;
}

/** The state file is deleted at the end; after a failure it stays. */
export async function exportFile(options: ExportOptions): Promise<Exported> {
  const { file, url } = options;
  const path = statePath(file, "export");
  const held = startState(options);
  const descriptor = openSync(file, held ? "r+" : "w");
  const progress = new Progress({ verb: "exported" });
  let lines = held?.doneLines ?? 0;
  let bytes = held?.doneBytes ?? 0;
  let skipped: SkippedData = held?.skipped ?? { ranges: [], keys: [] };
  try {
    if (held) {
      console.error(`going on after ${lines} keys`);
      ftruncateSync(descriptor, bytes); // what came after the last durable page
    }
    for (let cursor = held?.cursor; ; ) {
      const page = await nextPage(options, cursor);
      const text = page.items.map(entryLine).join("");
      bytes += writeSync(descriptor, text, bytes, "utf8");
      lines += page.items.length;
      skipped = joinSkipped(skipped, page.skipped);
      progress.update(lines, bytes);
      fsyncSync(descriptor);
      if (page.cursor === null) break;
      cursor = page.cursor;
      writeState(path, { kind: "export", url, cursor, doneBytes: bytes, doneLines: lines, skipped });
    }
  } finally {
    closeSync(descriptor);
    progress.finish(lines, bytes);
  }
  removeState(path);
  return { keys: lines, skipped };
}
