// `jade-db index …`: the indexes of a vector database, and how far they are built.
import { type Command, Option } from "commander";
import type { DatabaseIndex, DatabaseIndexes } from "../client/index.ts";
import { withContext } from "./context.ts";
import { UsageError } from "./exit-codes.ts";
import { addDatabaseOptions } from "./vector-commands.ts";

const tenant = { key: "tenant" } as const;

interface Flags {
  readonly database: string;
  readonly namespace?: string;
  readonly output?: string;
}

interface Context {
  readonly indexes: DatabaseIndexes;
  readonly database: string;
  print(result: object | readonly object[]): void;
  /** Tells how far it is until it is built, if it is waited for. */
  follow(index: DatabaseIndex, wait: boolean | undefined): Promise<void>;
}

function withIndexes(command: Command, work: (context: Context) => Promise<void>): Promise<void> {
  const { database, namespace = "default" } = command.opts<Flags>();
  return withContext(command, tenant, ({ client, print }) => {
    const { indexes } = client.databases.namespace(namespace);
    const follow = async (index: DatabaseIndex, wait: boolean | undefined): Promise<void> => {
      if (!wait) return print(index);
      const onProgress = ({ progress, indexedRows, rows }: DatabaseIndex): void =>
        void process.stderr.write(`${Math.floor(progress * 100)} % of ${rows} vectors (${indexedRows} found by it)\n`);
      print(await indexes.ready(database, index.indexId, { onProgress }));
    };
    return work({ indexes, database, print, follow });
  });
}

function parametersOf(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // SyntaxError: told below, as any other text that is no object.
  }
  throw new UsageError('--parameters must be a JSON object, such as {"M":32}');
}

const waitFlag = ["--wait", "until it is built, telling how far it is"] as const;

/** Commands on the indexes of `--database`. */
export function addIndexCommands(program: Command): void {
  const index = program.command("index").description("indexes of a vector database");
  addDatabaseOptions(index.command("create <indexId>"))
    .description("make an index beside those that there are; needs a key of scope admin")
    .addOption(new Option("--type <kind>", "what it is").choices(["FLAT", "HNSW", "IVF", "LSH"]).makeOptionMandatory())
    .option("--parameters <json>", "an object")
    .option(...waitFlag)
    .action((indexId: string, flags: { type: string; parameters?: string; wait?: boolean }, command: Command) =>
      withIndexes(command, async ({ indexes, database, follow }) => {
        const indexParameters = parametersOf(flags.parameters);
        const made = await indexes.create(database, { indexId, indexType: flags.type, indexParameters });
        await follow(made, flags.wait);
      }),
    );
  addDatabaseOptions(index.command("list"))
    .description("list the indexes of a database, and how far they are built")
    .action((_flags: object, command: Command) =>
      withIndexes(command, async ({ indexes, database, print }) => {
        const all = await indexes.list(database);
        if (command.optsWithGlobals<Flags>().output !== "table") return print(all);
        print(
          all.map(({ indexId, indexType, state, progress, rows, memoryBytes, quarantinedRows }) => {
            return { indexId, indexType, state, progress: progress.toFixed(3), rows, memoryBytes, quarantinedRows };
          }),
        );
      }),
    );
  addDatabaseOptions(index.command("get <indexId>"))
    .description("show an index: parameters, progress, what it lacks")
    .option(...waitFlag)
    .action((indexId: string, { wait }: { wait?: boolean }, command: Command) =>
      withIndexes(command, async ({ indexes, database, follow }) => follow(await indexes.get(database, indexId), wait)),
    );
  addDatabaseOptions(index.command("update <indexId>"))
    .description("change parameters; what is built serves until the new one is; needs scope admin")
    .requiredOption("--parameters <json>", "an object; what is not in it stays")
    .option(...waitFlag)
    .action((indexId: string, flags: { parameters: string; wait?: boolean }, command: Command) =>
      withIndexes(command, async ({ indexes, database, follow }) => {
        const indexParameters = parametersOf(flags.parameters);
        await follow(await indexes.update(database, indexId, { indexParameters }), flags.wait);
      }),
    );
  addDatabaseOptions(index.command("rebuild <indexId>"))
    .description("build an index anew while it serves; needs scope admin")
    .option(...waitFlag)
    .action((indexId: string, { wait }: { wait?: boolean }, command: Command) =>
      withIndexes(command, async ({ indexes, database, follow }) =>
        follow(await indexes.update(database, indexId, { rebuild: true }), wait),
      ),
    );
  addDatabaseOptions(index.command("delete <indexId>"))
    .description("delete an index; vectors stay; needs scope admin")
    .action((indexId: string, _flags: object, command: Command) =>
      withIndexes(command, async ({ indexes, database, print }) => {
        await indexes.delete(database, indexId);
        print({ indexId, deleted: true });
      }),
    );
}
