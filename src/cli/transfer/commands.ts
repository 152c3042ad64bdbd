// `jade-db import` and `jade-db export`.
import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import type { Consistency } from "../../client/index.ts";
import { type Context, withContext } from "../context.ts";
import { CommandFailure, UsageError } from "../exit-codes.ts";
import { wholeNumber } from "../tenant-commands.ts";
import { addVectorTransferCommands } from "../vectors/commands.ts";
import { exportFile } from "./export.ts";
import { importFile } from "./import.ts";
import { verifyFile } from "./verify.ts";

interface TransferFlags {
  readonly consistency?: Consistency;
  readonly concurrency: number;
  readonly pageSize: number;
  readonly verify?: boolean;
  readonly restart?: boolean;
  readonly skipCorrupt?: boolean;
}

/** A session where the runtime has WebSocket (Node 22 or newer), plain HTTP otherwise. */
function contextOptions() {
  const hasWebSocket = (globalThis as { WebSocket?: unknown }).WebSocket !== undefined;
  return { key: "tenant", transport: hasWebSocket ? "session" : "http" } as const;
}

async function verified(context: Context, file: string, concurrency: number): Promise<object> {
  const { keys, missing, different, conflicted } = await verifyFile({ client: context.client, file, concurrency });
  const problems = missing.length + different.length + conflicted.length;
  if (problems > 0) {
    const example = missing[0] ?? different[0] ?? conflicted[0];
    throw new CommandFailure(
      `verification failed: of ${keys} keys ${missing.length} are missing, ${different.length} differ, ${conflicted.length} have concurrent versions; for example ${JSON.stringify(example)}`,
    );
  }
  return { verified: keys };
}

export function addTransferCommands(program: Command): void {
  const importCommand = program
    .command("import <file>")
    .description(
      'write every line {"key": …, "value": …} of a JSONL file; run again after a failure, it goes on where it stopped',
    )
    .addOption(new Option("--consistency <level>", "how many replicas must answer").choices(["one", "quorum", "all"]))
    .option("--concurrency <n>", "lines under way at once", wholeNumber, 256)
    .option("--verify", "read everything back and compare")
    .option("--restart", "forget an earlier import of this file that stopped")
    .action((file: string, flags: TransferFlags, command: Command) =>
      withContext(command, contextOptions(), async (context) => {
        if (!existsSync(file)) throw new UsageError(`${file} does not exist`);
        const { concurrency, consistency, restart = false } = flags;
        const {
          client,
          flags: { url },
        } = context;
        const lines = await importFile({ client, url, file, concurrency, consistency, restart });
        const check = flags.verify ? await verified(context, file, concurrency) : {};
        context.print({ file, lines, ...check });
      }),
    );
  const exportCommand = program
    .command("export <file>")
    .description("write all keys of the tenant to a JSONL file; run again after a failure, it goes on where it stopped")
    .option("--page-size <n>", "keys asked for at once", wholeNumber, 500)
    .option("--concurrency <n>", "reads under way at once while verifying", wholeNumber, 256)
    .option("--verify", "read everything back and compare")
    .option("--restart", "forget an earlier export to this file that stopped")
    .option("--skip-corrupt", "go on past what no intact copies are left of; tells what is left out and exits with 1")
    .action((file: string, flags: TransferFlags, command: Command) =>
      withContext(command, contextOptions(), async (context) => {
        const {
          client,
          flags: { url },
        } = context;
        const { pageSize, restart = false, skipCorrupt } = flags;
        const { keys, skipped } = await exportFile({ client, url, file, pageSize, restart, skipCorrupt });
        const check = flags.verify ? await verified(context, file, flags.concurrency) : {};
        const isWhole = skipped.ranges.length + skipped.keys.length === 0;
        context.print({ file, keys, ...check, ...(isWhole ? {} : { skipped }) });
        if (!isWhole) {
          throw new CommandFailure(
            `the export is not whole: unreadable are ${skipped.keys.length} known keys, and all keys in ${skipped.ranges.length} ranges of tokens`,
          );
        }
      }),
    );
  addVectorTransferCommands(importCommand, exportCommand);
}
