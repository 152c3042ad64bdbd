// `jade-db config watch`: changes of keys as they happen, one JSON line a revision.
// Guarantees: goes on over restarts of the server without a gap or a repetition; ends with exit code 0 on Ctrl-C.
import type { Command } from "commander";
import type { ConfigChange, ConfigEntry } from "../client/index.ts";
import { shownKey, withConfig } from "./config-context.ts";
import { UsageError } from "./exit-codes.ts";
import { exactValue } from "./input.ts";
import { wholeNumber } from "./tenant-commands.ts";

interface WatchFlags {
  /** True: the key is one. */
  readonly prefix?: string | boolean;
  readonly rev?: number;
  readonly prevKv?: boolean;
  readonly count?: number;
}

function shownEntry({ key, value, ...meta }: ConfigEntry): object {
  if (value instanceof Uint8Array)
    return { ...shownKey(key), value: Buffer.from(value).toString("base64"), valueEncoding: "base64", ...meta };
  try {
    return { ...shownKey(key), value: exactValue(value as string), ...meta };
  } catch {
    return { ...shownKey(key), value, valueEncoding: "text", ...meta };
  }
}

function shownChange({ revision, events }: ConfigChange): object {
  const shown = events.map((event) => ({
    type: event.type,
    ...(event.type === "put" ? shownEntry(event.entry) : shownKey(event.key)),
    ...(event.prevKv ? { prevKv: shownEntry(event.prevKv) } : {}),
  }));
  return { revision, events: shown };
}

function rangeOf(key: string | undefined, prefix: string | boolean | undefined) {
  if (typeof prefix === "string" && key === undefined) return { prefix };
  if (key === undefined || typeof prefix === "string") throw new UsageError("give a key, or --prefix");
  return prefix ? { prefix: key } : key;
}

export function addWatchCommand(config: Command): void {
  config
    .command("watch [key]")
    .description(
      "print the changes of a key, or of all keys of a prefix, as they happen, one JSON line a revision, until Ctrl-C",
    )
    .option("--prefix [prefix]", "of all keys that begin with this, or with the argument; '' = all keys")
    .option("--rev <n>", "from this revision on; past ones too", wholeNumber)
    .option("--prev-kv", "with the version before")
    .option("--count <n>", "end after so many revisions", wholeNumber)
    .action((key: string | undefined, { prefix, rev, prevKv, count }: WatchFlags, command: Command) =>
      withConfig(command, async ({ config: space }) => {
        const watch = space.watch(rangeOf(key, prefix), { startRevision: rev, prevKv, as: "text" });
        process.once("SIGINT", () => watch.close());
        let left = count ?? Number.POSITIVE_INFINITY;
        for await (const change of watch) {
          process.stdout.write(`${JSON.stringify(shownChange(change))}\n`);
          if (--left === 0) break;
        }
      }),
    );
}
