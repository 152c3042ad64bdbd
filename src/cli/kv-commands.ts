// `jade-db kv …`: single keys and batches of a tenant.
// Guarantees: values are passed on and printed (`--raw`) as the exact JSON text.
import { type Command, Option } from "commander";
import type { BatchOperation, BatchResult, ClockMap, Consistency, GetResult } from "../client/index.ts";
import { withContext } from "./context.ts";
import { CommandFailure, EXIT, UsageError } from "./exit-codes.ts";
import { exactValue, readInput, valueText } from "./input.ts";

interface ReadFlags {
  readonly consistency?: Consistency;
  readonly raw?: boolean;
}

interface WriteFlags {
  readonly consistency?: Consistency;
  readonly clock?: string;
  readonly writeId?: string;
  readonly string?: boolean;
  readonly file?: string;
}

const tenant = { key: "tenant" } as const;
const consistencyOption = () =>
  new Option("--consistency <level>", "how many replicas must answer").choices(["one", "quorum", "all"]);

function parsedClock(text: string | undefined): ClockMap | undefined {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as ClockMap;
  } catch {
    throw new UsageError("--clock is not JSON; pass the vectorClock that an earlier read or write printed");
  }
}

function writeOptions({ consistency, clock, writeId }: WriteFlags) {
  return { consistency, clock: parsedClock(clock), writeId };
}

/** From raw texts: a number that JavaScript cannot hold exactly (2^53+1, 1.0) is shown as its text, not changed. */
function shown(result: GetResult<string>): object {
  const { key, vectorClock, conflict } = result;
  const value = exactValue(result.value);
  if (!conflict) return { key, value, vectorClock };
  const siblings = result.siblings?.map((sibling) => ({ ...sibling, value: exactValue(sibling.value) }));
  return { key, value, vectorClock, conflict, siblings };
}

/** `{"op": "put", "key": …, "value": …}` a line. */
function batchOperations(text: string): BatchOperation[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line, index) => {
    try {
      return JSON.parse(line) as BatchOperation;
    } catch {
      throw new UsageError(`line ${index + 1} is not JSON`);
    }
  });
}

function batchRow(outcome: BatchResult): object {
  if (!outcome.ok)
    return { op: outcome.op, key: outcome.key, ok: false, error: outcome.error.code, message: outcome.error.message };
  const value = outcome.op === "get" && outcome.result.found ? { value: outcome.result.value } : {};
  const found = outcome.op === "get" ? { found: outcome.result.found } : {};
  return {
    op: outcome.op,
    key: outcome.result.key,
    ok: true,
    ...found,
    ...value,
    vectorClock: outcome.result.vectorClock,
  };
}

function addReadCommands(kv: Command): void {
  kv.command("get <key>")
    .description("print a key's value and context; exits with 3 when there is none")
    .addOption(consistencyOption())
    .option("--raw", "print only the value, as the exact JSON text that was stored")
    .action((key: string, { consistency, raw }: ReadFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        const result = await client.kv.getRaw(key, { consistency });
        if (!result.found) {
          const context = JSON.stringify(result.vectorClock);
          throw new CommandFailure(
            `notFound: there is no key ${JSON.stringify(key)} (vectorClock ${context})`,
            EXIT.notFound,
          );
        }
        if (raw) process.stdout.write(`${String(result.value)}\n`);
        else print(shown(result));
      }),
    );
}

function addWriteCommands(kv: Command): void {
  kv.command("put <key> [value]")
    .description("store a JSON value: the argument, --file, or stdin")
    .addOption(consistencyOption())
    .option("--clock <json>", "the vectorClock this write builds on")
    .option("--write-id <hex>", "32 hex digits: the same write sent again applies once")
    .option("--string", "the value is plain text, not JSON")
    .option("--file <path>", "read the value from a file")
    .action((key: string, value: string | undefined, flags: WriteFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        print(await client.kv.putRaw(key, valueText(value, flags), writeOptions(flags)));
      }),
    );
  kv.command("delete <key>")
    .description("delete a key")
    .addOption(consistencyOption())
    .option("--clock <json>", "the vectorClock this delete builds on")
    .option("--write-id <hex>", "32 hex digits: the same delete sent again applies once")
    .action((key: string, flags: WriteFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) =>
        print(await client.kv.delete(key, writeOptions(flags))),
      ),
    );
  kv.command("batch [file]")
    .description(
      'run operations, one JSON a line: {"op": "put"|"get"|"delete", "key": …, "value": …}; from a file or stdin',
    )
    .addOption(consistencyOption())
    .action((file: string | undefined, { consistency }: ReadFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        const outcomes = await client.kv.batch(batchOperations(readInput(file ?? "-")), { consistency });
        print(outcomes.map(batchRow));
        const failed = outcomes.filter((outcome) => !outcome.ok).length;
        if (failed > 0) throw new CommandFailure(`${failed} of ${outcomes.length} operations failed`);
      }),
    );
}

export function addKeyValueCommands(program: Command): void {
  const kv = program.command("kv").description("keys and JSON values of a tenant");
  addReadCommands(kv);
  addWriteCommands(kv);
}
