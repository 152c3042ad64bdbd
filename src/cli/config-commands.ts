// `jade-db config …`: the configuration store of a tenant.
// Guarantees: values are passed on and printed (`--raw`) as the exact bytes.
import { type Command, Option } from "commander";
import type { Config, ConfigEntry, ConfigMeta, ConfigRangeOptions } from "../client/index.ts";
import { shownKey, withConfig } from "./config-context.ts";
import { addLeaseCommands } from "./config-lease-commands.ts";
import { addLockCommands } from "./config-lock-commands.ts";
import { addSnapshotCommands } from "./config-snapshot-commands.ts";
import { addTransferCommands } from "./config-transfer-commands.ts";
import { addWatchCommand } from "./config-watch-commands.ts";
import { addWebhookCommands } from "./config-webhook-commands.ts";
import { CommandFailure, EXIT, UsageError } from "./exit-codes.ts";
import { exactValue, readBytes, readInput, valueText } from "./input.ts";
import { collect, wholeNumber } from "./tenant-commands.ts";

/** `value`: text or bytes as stored; undefined = only the key was asked for. */
function shownEntry({ key, value, ...meta }: ConfigEntry): object {
  return { ...shownKey(key), ...shownValue(value), ...meta };
}

function shownValue(value: unknown): object {
  if (value === undefined) return {};
  if (value instanceof Uint8Array) return { value: Buffer.from(value).toString("base64"), valueEncoding: "base64" };
  try {
    return { value: exactValue(value as string) };
  } catch {
    return { value, valueEncoding: "text" };
  }
}

function shownMeta({ key, ...meta }: ConfigMeta): object {
  return { ...shownKey(key), ...meta };
}

interface GetFlags {
  readonly revision?: number;
  readonly keysOnly?: boolean;
  readonly raw?: boolean;
}

interface Conditions {
  readonly ifModRevision?: number;
  readonly ifVersion?: number;
  readonly writeId?: string;
}

interface PutFlags extends Conditions {
  readonly lease?: string;
  readonly ifAbsent?: boolean;
  readonly sequential?: boolean;
  readonly string?: boolean;
  readonly bytes?: boolean;
  readonly file?: string;
}

/** From 0 on. */
function revisionNumber(text: string): number {
  return text === "0" ? 0 : wholeNumber(text);
}

function addConditions(command: Command): Command {
  return command
    .option("--if-mod-revision <n>", "only if the key was last changed then; 0: only if it is absent", revisionNumber)
    .option("--if-version <n>", "only if the key has this version", revisionNumber)
    .option("--write-id <hex>", "32 hex digits: the same write sent again applies once");
}

function addGet(config: Command): void {
  config
    .command("get <key>")
    .description("print a key; exits with 3 when there is none")
    .option("--revision <n>", "the state as of then", wholeNumber)
    .option("--keys-only", "without the value")
    .option("--raw", "print only the value, as the exact bytes that were stored")
    .action((key: string, { raw, ...read }: GetFlags, command: Command) =>
      withConfig(command, async ({ config: space, print }) => {
        const result = await space.get(key, { ...read, as: raw ? "bytes" : "text" });
        if (!result.found) {
          const message = `notFound: there is no key ${JSON.stringify(key)} at revision ${result.revision}`;
          throw new CommandFailure(message, EXIT.notFound);
        }
        const { found: _, revision, ...entry } = result;
        if (raw) process.stdout.write(entry.value as Uint8Array);
        else print({ ...shownEntry(entry), revision });
      }),
    );
}

function putValue(value: string | undefined, flags: PutFlags): Uint8Array {
  if (!flags.bytes) return new TextEncoder().encode(valueText(value, flags));
  if (flags.string) throw new UsageError("--bytes and --string exclude each other");
  if (value !== undefined && flags.file !== undefined)
    throw new UsageError("give the value either as an argument or by --file");
  return value === undefined ? readBytes(flags.file ?? "-") : new TextEncoder().encode(value);
}

function addPut(config: Command): void {
  addConditions(config.command("put <key> [value]").description("store JSON: the argument, --file, or stdin"))
    .option("--lease <id>", "the key ends with this lease")
    .option("--if-absent", "only if there is no such key")
    .option("--sequential", "append the revision in 16 digits to the key")
    .option("--string", "the value is plain text, to be stored as a JSON string")
    .option("--bytes", "the value is stored as it is, JSON or not")
    .option("--file <path>", "read the value from a file")
    .action((key: string, value: string | undefined, flags: PutFlags, command: Command) =>
      withConfig(command, async ({ config: space, print }) => {
        const { lease, ifAbsent, ifModRevision, ifVersion, sequential, writeId } = flags;
        const options = { leaseId: lease, ifAbsent, ifModRevision, ifVersion, sequential, writeId };
        // As bytes, so that the text stays as it was given.
        print(shownMeta(await space.put(key, putValue(value, flags), options)));
      }),
    );
}

interface RangeFlags extends Omit<ConfigRangeOptions, "as" | "cursor"> {
  readonly count?: boolean;
}

function addRange(config: Command): void {
  config
    .command("range [prefix]")
    .description("print the keys of a prefix or a range, all as of one revision")
    .option("--prefix <prefix>", "all keys that begin with this; as the argument")
    .option("--start <key>", "keys from this one on")
    .option("--end <key>", "keys before this one")
    .option("--limit <n>", "so many at most", wholeNumber)
    .option("--keys-only", "without the values")
    .option("--count", "print only how many there are")
    .option("--delimiter <text>", "one level: deeper keys as their common prefix")
    .addOption(
      new Option("--sort <field>", "what to sort by").choices([
        "key",
        "version",
        "createRevision",
        "modRevision",
        "value",
      ]),
    )
    .addOption(new Option("--order <order>", "which way").choices(["asc", "desc"]))
    .option("--revision <n>", "the state as of then", wholeNumber)
    .action((argument: string | undefined, { count, ...range }: RangeFlags, command: Command) =>
      withConfig(command, async ({ config: space, print }) => {
        if (argument !== undefined && range.prefix !== undefined)
          throw new UsageError("give the prefix either as an argument or by --prefix");
        const prefix = argument ?? (range.prefix as string | undefined);
        const asked = { ...range, prefix, as: "text" } as const;
        if (count) print({ count: await space.count({ prefix, start: range.start, end: range.end }) });
        else print(range.limit === undefined ? await allRows(space, asked) : rowsOf(await space.rangePage(asked)));
      }),
    );
}

function rowsOf({ items, commonPrefixes = [] }: Awaited<ReturnType<Config["rangePage"]>>): object[] {
  return [...items.map(shownEntry), ...commonPrefixes.map((prefix) => ({ ...shownKey(prefix), commonPrefix: true }))];
}

const PAGE_KEYS = 500;

async function allRows(space: Config, range: ConfigRangeOptions): Promise<object[]> {
  const isPaged = range.sort === undefined || range.sort === "key";
  const rows: object[] = [];
  let cursor: string | undefined;
  do {
    const page = await space.rangePage({ ...range, limit: isPaged ? PAGE_KEYS : undefined, cursor });
    rows.push(...rowsOf(page));
    cursor = page.cursor ?? undefined;
  } while (cursor !== undefined);
  return rows;
}

function addDelete(config: Command): void {
  addConditions(config.command("del [key]").description("delete a key, or all keys of a prefix or a range"))
    .option("--prefix <prefix>", "all keys that begin with this")
    .option("--start <key>", "all keys from this one on")
    .option("--end <key>", "all keys before this one")
    .action(
      (
        key: string | undefined,
        flags: Conditions & { prefix?: string; start?: string; end?: string },
        command: Command,
      ) =>
        withConfig(command, async ({ config: space, print }) => {
          const { prefix, start, end, ...conditions } = flags;
          const isRange = prefix !== undefined || start !== undefined || end !== undefined;
          if ((key === undefined) !== isRange) throw new UsageError("give a key, or --prefix, or --start and --end");
          if (key === undefined)
            return print(await space.deleteRange({ prefix, start, end }, { writeId: flags.writeId }));
          const result = await space.delete(key, conditions);
          if (result.deleted === 0)
            throw new CommandFailure(`notFound: there is no key ${JSON.stringify(key)}`, EXIT.notFound);
          print({ key, ...result });
        }),
    );
}

function addWhole(config: Command): void {
  config
    .command("txn [file]")
    .description(
      'run a transaction, {"compare": [], "success": [], "failure": []} as the HTTP API takes it; from a file or stdin',
    )
    .option("--write-id <hex>", "32 hex digits: the same transaction sent again applies once")
    .action((file: string | undefined, flags: { readonly writeId?: string }, command: Command) =>
      withConfig(command, async ({ config: space, print }) =>
        print((await space.runTxnText(readInput(file ?? "-"), flags)) as object),
      ),
    );
  config
    .command("compact")
    .description("forget what was before a revision")
    .argument("<revision>", "the oldest that can still be read", wholeNumber)
    .action((revision: number, _flags: object, command: Command) =>
      withConfig(command, async ({ config: space, print }) => print(await space.compact(revision))),
    );
  config
    .command("status")
    .description("revision, number of keys and leases, size")
    .action((_flags: object, command: Command) =>
      withConfig(command, async ({ config: space, print }) => print(await space.status())),
    );
  const namespaces = config
    .command("namespaces")
    .description("list the tenant's namespaces")
    .action((_flags: object, command: Command) =>
      withConfig(command, async ({ config: space, print }) => print(await collect(space.namespaces()))),
    );
  namespaces
    .command("delete <name>")
    .description("delete a namespace with everything in it (a key of scope admin)")
    .action((name: string, _flags: object, command: Command) =>
      withConfig(command, async ({ config: space, print }) =>
        print({ namespace: name, ...(await space.deleteNamespace(name)) }),
      ),
    );
}

export function addConfigCommands(program: Command): void {
  const config = program
    .command("config")
    .description("the configuration store of a tenant")
    .addOption(new Option("-n, --namespace <name>", "which namespace (default: default)").env("JADE_NAMESPACE"));
  addGet(config);
  addPut(config);
  addDelete(config);
  addRange(config);
  addWatchCommand(config);
  addLeaseCommands(config);
  addLockCommands(config);
  addWebhookCommands(config);
  addWhole(config);
  addSnapshotCommands(config);
  addTransferCommands(config);
}
