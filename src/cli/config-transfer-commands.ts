// `jade-db config export` and `import`: a namespace or a prefix as a file of newline-delimited JSON, and back.
// Guarantees: an export's file is whole and of one revision, or not there; memory is bounded by a page (with --verify, by a hash
// for each key). An import that stopped names the lines, and can be run again.
import { createHash, randomUUID } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { type Command, Option } from "commander";
import { type Config, type ConfigImportOptions, type ConfigImportResult, writeIdFrom } from "../client/index.ts";
import { memberText } from "../client/raw-json.ts";
import { withConfig } from "./config-context.ts";
import { CommandFailure, UsageError } from "./exit-codes.ts";
import { wholeNumber } from "./tenant-commands.ts";
import { readLines } from "./transfer/jsonl.ts";
import { Progress } from "./transfer/progress.ts";

/** A page of an import: far below what the server takes, so that progress is seen. Bytes, lines. */
const PAGE_BYTES = 1024 * 1024;
const PAGE_LINES = 1000;

interface ExportFlags {
  readonly prefix?: string;
  readonly pageSize: number;
  readonly verify?: boolean;
}

interface ImportFlags extends Pick<ConfigImportOptions, "onExisting"> {
  readonly verify?: boolean;
}

interface Shown {
  readonly key?: string;
  readonly keyEncoding?: string;
  readonly value?: unknown;
  readonly valueEncoding?: string;
}

/** Key and value of a line, whatever way they are written; undefined for a last line and for empty ones. */
function digestOf(line: string): { readonly key: string; readonly value: string } | undefined {
  if (line.trim() === "") return undefined;
  const { key, keyEncoding, value, valueEncoding } = JSON.parse(line) as Shown;
  if (key === undefined) return undefined;
  const bytes = (text: string, encoding: string | undefined) =>
    Buffer.from(text, encoding === "base64" ? "base64" : "utf8");
  const stored =
    valueEncoding === undefined || valueEncoding === "json"
      ? Buffer.from(memberText(line, "value") ?? "")
      : bytes(value as string, valueEncoding);
  return {
    key: bytes(key, keyEncoding).toString("base64"),
    value: createHash("sha256").update(stored).digest("base64"),
  };
}

async function exportTo(space: Config, file: string, { prefix, pageSize }: ExportFlags) {
  const aside = `${file}.part`;
  const descriptor = openSync(aside, "w");
  const progress = new Progress({ verb: "exported" });
  let [keys, bytes, revision] = [0, 0, 0];
  try {
    for await (const page of space.exportPages({ prefix, limit: pageSize })) {
      for (const line of page.lines) bytes += writeSync(descriptor, `${line}\n`);
      keys += page.lines.length;
      ({ revision } = page);
      progress.update(keys, bytes);
    }
    writeSync(descriptor, `${JSON.stringify({ cursor: null, revision })}\n`);
    fsyncSync(descriptor);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
  renameSync(aside, file);
  progress.finish(keys, bytes);
  return { keys, revision };
}

/** Lines of a file in pages, with the number of the first and last. */
async function* pagesOf(file: string) {
  let lines: string[] = [];
  let [first, last, startOffset, endOffset] = [1, 0, 0, 0];
  for await (const line of readLines(file)) {
    // Ends before a line that passes the bound: one alone may be as long as a page.
    if (lines.length > 0 && (lines.length === PAGE_LINES || line.endOffset - startOffset > PAGE_BYTES)) {
      yield { lines, first, last, endOffset };
      lines = [];
      first = line.number;
      startOffset = endOffset;
    }
    lines.push(line.text);
    ({ number: last, endOffset } = line);
  }
  if (lines.length > 0) yield { lines, first, last, endOffset };
}

async function importFrom(space: Config, file: string, { onExisting }: ImportFlags): Promise<ConfigImportResult> {
  const progress = new Progress({ verb: "imported" });
  const run = randomUUID();
  const sum = { lines: 0, created: 0, overwritten: 0, skipped: 0, leasesDropped: 0, revision: 0 };
  for await (const { lines, first, last, endOffset } of pagesOf(file)) {
    let done: ConfigImportResult;
    try {
      done = await space.importPage(lines.join("\n"), { onExisting, writeId: await writeIdFrom(`${run}:${first}`) });
    } catch (error) {
      console.error(
        `stopped in the page of lines ${first} to ${last} of ${file}; lines of the message count from ${first}`,
      );
      throw error;
    }
    for (const name of ["lines", "created", "overwritten", "skipped", "leasesDropped"] as const)
      sum[name] += done[name];
    sum.revision = done.revision;
    progress.update(sum.lines, endOffset);
  }
  progress.finish(sum.lines, 0);
  return sum;
}

/** Compares what is stored with the file. `prefix`: where the file holds all keys, so that others are told too. */
async function verified(space: Config, file: string, whole?: { readonly prefix: string | undefined }): Promise<object> {
  const wanted = new Map<string, string>();
  for await (const { text } of readLines(file)) {
    const digest = digestOf(text);
    if (digest) wanted.set(digest.key, digest.value);
  }
  const keys = wanted.size;
  let [different, additional] = [0, 0];
  let example: string | undefined;
  for await (const page of space.exportPages(whole ?? {})) {
    for (const line of page.lines) {
      const digest = digestOf(line)!;
      const value = wanted.get(digest.key);
      wanted.delete(digest.key);
      if (value === digest.value || (value === undefined && !whole)) continue;
      if (value === undefined) additional++;
      else different++;
      example ??= digest.key;
    }
  }
  if (wanted.size + different + additional === 0) return { verified: keys };
  example ??= wanted.keys().next().value!;
  throw new CommandFailure(
    `verification failed: of ${keys} keys ${wanted.size} are missing, ${different} differ, ${additional} are not in the file; for example ${JSON.stringify(Buffer.from(example, "base64").toString())}`,
  );
}

export function addTransferCommands(config: Command): void {
  config
    .command("export <file>")
    .description("write all keys, as of one revision, to a file of JSON lines")
    .option("--prefix <prefix>", "only keys that begin with this")
    .option("--page-size <n>", "keys asked for at once", wholeNumber, PAGE_LINES)
    .option("--verify", "read everything back and compare; what was written meanwhile differs")
    .action((file: string, flags: ExportFlags, command: Command) =>
      withConfig(command, async ({ config: space, print }) => {
        const exported = await exportTo(space, file, flags);
        const check = flags.verify ? await verified(space, file, { prefix: flags.prefix }) : {};
        print({ file, ...exported, ...check });
      }),
    );
  config
    .command("import <file>")
    .description("write the keys of an export; revisions and versions begin anew, leases that are gone are left out")
    .addOption(
      new Option("--on-existing <what>", "what happens to keys that exist").choices(["overwrite", "skip", "fail"]),
    )
    .option("--verify", "read everything back and compare")
    .action((file: string, flags: ImportFlags, command: Command) =>
      withConfig(command, async ({ config: space, print }) => {
        if (!existsSync(file)) throw new UsageError(`${file} does not exist`);
        const imported = await importFrom(space, file, flags);
        const check = flags.verify ? await verified(space, file) : {};
        print({ file, ...imported, ...check });
      }),
    );
}
