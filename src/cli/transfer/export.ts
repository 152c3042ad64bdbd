// `jade-db export`: all keys of a tenant into a JSONL file, resumable.
// Guarantees: every line is whole; the state never claims bytes that are not on disk; keys that exist from start to end are in it.
import { closeSync, fsyncSync, ftruncateSync, openSync, writeSync } from "node:fs";
import type { ExportedEntry, JadeClient, Page } from "../../client/index.ts";
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
}

async function nextPage({ client, pageSize }: ExportOptions, cursor: string | undefined): Promise<Page<ExportedEntry>> {
  try {
    return await client.kv.exportPage({ limit: pageSize, cursor });
  } catch (error) {
    if (isNotFound(error))
      throw new CommandFailure("this server has no export (GET /v1/key-value/export); it needs a newer version");
    throw error;
  }
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

/** Gives the number of keys. The state file is deleted at the end; after a failure it stays. */
export async function exportFile(options: ExportOptions): Promise<number> {
  const { file, url } = options;
  const path = statePath(file, "export");
  const held = startState(options);
  const descriptor = openSync(file, held ? "r+" : "w");
  const progress = new Progress({ verb: "exported" });
  let lines = held?.doneLines ?? 0;
  let bytes = held?.doneBytes ?? 0;
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
      progress.update(lines, bytes);
      fsyncSync(descriptor);
      if (page.cursor === null) break;
      cursor = page.cursor;
      writeState(path, { kind: "export", url, cursor, doneBytes: bytes, doneLines: lines });
    }
  } finally {
    closeSync(descriptor);
    progress.finish(lines, bytes);
  }
  removeState(path);
  return lines;
}
