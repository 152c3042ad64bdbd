// `jade-db database …`: the vector databases of a namespace.
import { type Command, Option } from "commander";
import type { DatabaseChanges, NewDatabase, VectorDurability, VectorMetric } from "../client/index.ts";
import { withContext } from "./context.ts";
import { UsageError } from "./exit-codes.ts";
import { readInput } from "./input.ts";
import { collect, wholeNumber } from "./tenant-commands.ts";

const tenant = { key: "tenant" } as const;

export interface NamespaceFlags {
  readonly namespace?: string;
}

/** `--namespace`, as the commands of databases and vectors have it. */
export function namespaceOption(): Option {
  return new Option("--namespace <name>", "of the tenant (default: default)").env("JADE_NAMESPACE");
}

interface ChangeFlags extends NamespaceFlags {
  readonly name?: string;
  readonly description?: string;
  readonly durability?: VectorDurability;
  readonly file?: string;
}

interface CreateFlags extends ChangeFlags {
  readonly dimension?: number;
  readonly model?: string;
  readonly metric?: VectorMetric;
  readonly index?: string;
  readonly shards?: number;
}

/** The record of `--file`, under what flags say. */
function recordOf(file: string | undefined): Partial<NewDatabase> {
  if (file === undefined) return {};
  try {
    const record: unknown = JSON.parse(readInput(file));
    if (typeof record === "object" && record !== null && !Array.isArray(record)) return record;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file} is not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  throw new UsageError(`${file} must hold a JSON object`);
}

function changesOf({ name, description, durability, file }: ChangeFlags): DatabaseChanges {
  return { ...recordOf(file), ...given({ name, description, durability }) };
}

/** Without what was not given, so that it hides nothing of a file. */
function given<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

function addChangeOptions(command: Command): Command {
  return command
    .option("--name <name>", "for people (default: the id)")
    .option("--description <text>", "for people")
    .addOption(
      new Option("--durability <level>", "of writes that do not say it").choices(["sync", "periodic", "eventual"]),
    )
    .option("--file <path>", "a JSON record with any of the fields; - is stdin")
    .addOption(namespaceOption());
}

function addCreate(database: Command): void {
  addChangeOptions(database.command("create [databaseId]").description("make a database; needs a key of scope admin"))
    .option("--dimension <n>", "numbers of a vector", wholeNumber)
    .option("--model <modelId>", "an embedding model: the database takes texts, and has its dimension")
    .addOption(new Option("--metric <metric>", "default: cosine").choices(["cosine", "euclidean", "dot"]))
    .option("--index <type>", "FLAT, HNSW, … (default: HNSW)")
    .option("--shards <n>", "default: 1", wholeNumber)
    .action((databaseId: string | undefined, flags: CreateFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        const { dimension, metric, index: indexType, shards, namespace, model } = flags;
        const embeddingModels = model === undefined ? undefined : [{ modelId: model }];
        const flagged = given({ databaseId, vectorDimension: dimension, metric, indexType, embeddingModels });
        const record = { ...changesOf(flags), ...flagged };
        const { sharding } = record as Partial<NewDatabase>;
        const says = ["vectorDimension", "vector_dimension", "embeddingModels", "embedding_models"];
        if (!says.some((name) => name in record))
          throw new UsageError("say --dimension, the numbers of a vector, or --model");
        const input = { ...record, ...(shards === undefined ? {} : { sharding: { ...sharding, numShards: shards } }) };
        print(await client.databases.namespace(namespace ?? "default").create(input as NewDatabase));
      }),
    );
}

/** Commands on one database, or on all. */
export function addDatabaseCommands(program: Command): Command {
  const database = program.command("database").description("vector databases");
  addCreate(database);
  database
    .command("list")
    .description("list the databases of a namespace")
    .addOption(namespaceOption())
    .action(({ namespace = "default" }: NamespaceFlags, command: Command) =>
      withContext(command, tenant, async ({ client, flags, print }) => {
        const all = await collect(client.databases.namespace(namespace).list());
        if (flags.output !== "table") return print(all);
        print(
          all.map(({ databaseId, vectorDimension, metric, indexType, sharding, state, createdAt }) => {
            return { databaseId, vectorDimension, metric, indexType, shards: sharding.numShards, state, createdAt };
          }),
        );
      }),
    );
  for (const [name, description] of [
    ["get", "show a database's configuration"],
    ["status", "show rows, segments and memory, in all and for each shard"],
  ] as const) {
    database
      .command(`${name} <databaseId>`)
      .description(description)
      .addOption(namespaceOption())
      .action((databaseId: string, { namespace = "default" }: NamespaceFlags, command: Command) =>
        withContext(command, tenant, async ({ client, print }) =>
          print(await client.databases.namespace(namespace)[name](databaseId)),
        ),
      );
  }
  addChangeOptions(
    database.command("update <databaseId>").description("change what may change; needs scope admin"),
  ).action((databaseId: string, flags: ChangeFlags, command: Command) =>
    withContext(command, tenant, async ({ client, print }) =>
      print(await client.databases.namespace(flags.namespace ?? "default").update(databaseId, changesOf(flags))),
    ),
  );
  database
    .command("delete <databaseId>")
    .description("delete a database with all its vectors; needs scope admin")
    .addOption(namespaceOption())
    .action((databaseId: string, { namespace = "default" }: NamespaceFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        await client.databases.namespace(namespace).delete(databaseId);
        print({ databaseId, deleted: true });
      }),
    );
  return database;
}
