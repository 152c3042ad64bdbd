// `jade-db vector …` and `jade-db search`: vectors of a database by id and by filter, and what is near.
// Guarantees: metadata is passed on and printed as its exact text where JavaScript would change it.
import { type Command, Option } from "commander";
import type {
  VectorConsistency,
  VectorDurability,
  VectorFilters,
  VectorHit,
  VectorQuery,
  Vectors,
} from "../client/index.ts";
import { withContext } from "./context.ts";
import { type NamespaceFlags, namespaceOption } from "./database-commands.ts";
import { CommandFailure, UsageError } from "./exit-codes.ts";
import { exactValue, jsonOf, readBytes, tensorsOf } from "./input.ts";
import { wholeNumber } from "./tenant-commands.ts";
import { floatText } from "./vectors/rows.ts";

const tenant = { key: "tenant" } as const;
const TENSOR_FLAG = 'for the database\'s model of tensors: {"input": {"data": [...], "shape": [...]}}';

interface DatabaseFlags extends NamespaceFlags {
  readonly database: string;
  readonly consistency?: VectorConsistency;
}

interface Context {
  readonly vectors: Vectors;
  print(result: object | readonly object[]): void;
}

/** Runs a command's work on the vectors of `--database`. */
function withVectors(command: Command, work: (context: Context) => Promise<void>): Promise<void> {
  const { database, namespace, consistency } = command.opts<DatabaseFlags>();
  return withContext(command, tenant, ({ client, print }) =>
    work({ vectors: client.vectors(database, { namespace, consistency }), print }),
  );
}

export function addDatabaseOptions(command: Command): Command {
  return command.requiredOption("--database <databaseId>", "which one").addOption(namespaceOption());
}

const consistencyOption = () =>
  new Option("--consistency <level>", "which copies may answer (default: strong, the shards' owners)").choices([
    "strong",
    "causal",
    "eventual",
  ]);

function objectOf(text: string | undefined, flag: string): VectorFilters | undefined {
  if (text === undefined) return undefined;
  const value = jsonOf(text, flag);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as VectorFilters;
  throw new UsageError(`${flag} must be a JSON object`);
}

function numbersOf(text: string, flag: string): number[] {
  const value = jsonOf(text, flag);
  if (Array.isArray(value) && value.every((item) => typeof item === "number")) return value as number[];
  throw new UsageError(`${flag} must be a JSON list of numbers, such as [0.1,0.2]`);
}

/** Numbers as short as float32 allows. */
function shown({
  values,
  metadata,
  metadataJson,
  ...rest
}: Omit<VectorHit, "score"> & { readonly metadataJson?: string }): object {
  return {
    ...rest,
    ...(values && { values: Array.from(values, (value) => Number(floatText(value))) }),
    ...(metadata && { metadata: metadataJson === undefined ? metadata : exactValue(metadataJson) }),
  };
}

interface PutFlags {
  readonly values?: string;
  readonly text?: string;
  readonly image?: string;
  readonly tensor?: string;
  readonly metadata?: string;
  readonly durability?: VectorDurability;
  readonly writeId?: string;
  readonly update?: boolean;
}

const durabilityOption = () =>
  new Option("--durability <level>", "when it is acknowledged (default: the database's)").choices([
    "sync",
    "periodic",
    "eventual",
  ]);

function addPut(vector: Command): void {
  addDatabaseOptions(vector.command("put [id]"))
    .description("store a vector; without an id one is made")
    .option("--values <json>", "a list of numbers")
    .option("--text <text>", "instead of values: the database's model makes them")
    .option("--image <file>", "a PNG or JPEG file, likewise")
    .option("--tensor <json>", TENSOR_FLAG)
    .option("--metadata <json>", "an object")
    .option("--update", "change only what is given, of a vector that exists")
    .addOption(durabilityOption())
    .option("--write-id <hex>", "32 hex digits: the same write sent again applies once")
    .action((id: string | undefined, flags: PutFlags, command: Command) =>
      withVectors(command, async ({ vectors, print }) => {
        const { durability, writeId, metadata: metadataJson, text } = flags;
        objectOf(metadataJson, "--metadata");
        const values = flags.values === undefined ? undefined : numbersOf(flags.values, "--values");
        const image = flags.image === undefined ? undefined : readBytes(flags.image);
        const tensor = flags.tensor === undefined ? undefined : tensorsOf(flags.tensor);
        const options = { durability, writeId };
        if (flags.update) {
          if (id === undefined) throw new UsageError("--update needs the id of a vector");
          return print(await vectors.update(id, { values, text, image, tensor, metadataJson }, options));
        }
        if ([values, text, image, tensor].filter((one) => one !== undefined).length !== 1)
          throw new UsageError("say --values, a JSON list of numbers, --text, --image or --tensor");
        const given = values ? { values } : image ? { image } : tensor ? { tensor } : { text: text! };
        print(await vectors.upsert({ id, ...given, metadataJson }, options));
      }),
    );
}

interface DeleteFlags {
  readonly filter?: string;
  readonly durability?: VectorDurability;
}

function addDelete(vector: Command): void {
  addDatabaseOptions(vector.command("delete [id...]"))
    .description("delete vectors by their ids, or all that --filter lets through")
    .option("--filter <json>", "what metadata must be")
    .addOption(durabilityOption())
    .action((ids: readonly string[], { filter, durability }: DeleteFlags, command: Command) =>
      withVectors(command, async ({ vectors, print }) => {
        const filters = objectOf(filter, "--filter");
        if (filters ? ids.length > 0 : ids.length === 0) throw new UsageError("give ids, or --filter");
        const answer = await vectors.deleteMany(filters ? { filters } : { ids }, { durability });
        print(answer);
        const [refused] = answer.refused ?? [];
        if (refused)
          throw new CommandFailure(`${refused.error.code}: ${refused.error.message}; the rest was deleted`, 1);
        if (answer.missing?.length)
          throw new CommandFailure(`notFound: ${answer.missing.length} of ${ids.length} were not there`, 3);
      }),
    );
}

interface ListFlags {
  readonly filter?: string;
  readonly values?: boolean;
  readonly limit?: number;
}

function addReads(vector: Command): void {
  addDatabaseOptions(vector.command("get <id>"))
    .description("print a vector with its values and metadata; exits with 3 when there is none")
    .addOption(consistencyOption())
    .action((id: string, _flags: object, command: Command) =>
      withVectors(command, async ({ vectors, print }) => print(shown(await vectors.get(id)))),
    );
  addDatabaseOptions(vector.command("list"))
    .description("list vectors")
    .addOption(consistencyOption())
    .option("--filter <json>", "what metadata must be")
    .option("--values", "with their values")
    .option("--limit <n>", "at most so many", wholeNumber, 100)
    .action(({ filter, values, limit = 100 }: ListFlags, command: Command) =>
      withVectors(command, async ({ vectors, print }) => {
        const rows: object[] = [];
        const ask = { filters: objectOf(filter, "--filter"), includeMetadata: true, includeValues: values };
        if (limit > 0) {
          for await (const row of vectors.list({ ...ask, limit: Math.min(limit, 1000) })) {
            rows.push(shown(row));
            if (rows.length === limit) break;
          }
        }
        print(rows);
      }),
    );
  addDatabaseOptions(vector.command("count"))
    .description("count vectors")
    .addOption(consistencyOption())
    .option("--filter <json>", "what metadata must be")
    .action(({ filter }: ListFlags, command: Command) =>
      withVectors(command, async ({ vectors, print }) =>
        print({ count: await vectors.count({ filters: objectOf(filter, "--filter") }) }),
      ),
    );
}

interface SearchFlags {
  readonly vector?: string;
  readonly text?: string;
  readonly image?: string;
  readonly tensor?: string;
  readonly model?: string;
  readonly id?: string;
  readonly filter?: string;
  readonly topK?: number;
  readonly threshold?: number;
  readonly index?: string;
  readonly values?: boolean;
  readonly ef?: number;
  readonly explain?: boolean;
}

function finiteNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new UsageError(`${JSON.stringify(text)} is not a number`);
  return value;
}

function queryOf({ vector, text, image, tensor, id }: SearchFlags): VectorQuery {
  if ([vector, text, image, tensor, id].filter((given) => given !== undefined).length !== 1)
    throw new UsageError("give --vector, --text, --image, --tensor or --id");
  if (id !== undefined) return { id };
  if (tensor !== undefined) return { tensor: tensorsOf(tensor) };
  if (image !== undefined) return { image: readBytes(image) };
  return text === undefined ? { vector: numbersOf(vector!, "--vector") } : { text };
}

function addSearch(program: Command): void {
  addDatabaseOptions(program.command("search"))
    .description("find what is nearest to a vector, a text, an image, tensors, or a stored vector")
    .addOption(consistencyOption())
    .option("--vector <json>", "a list of numbers")
    .option("--text <text>", "for the database's model")
    .option("--image <file>", "a PNG or JPEG file, for the database's model of images")
    .option("--tensor <json>", TENSOR_FLAG)
    .option("--model <modelId>", "for --text, --image and --tensor (default: the database's first)")
    .option("--id <id>", "of a stored vector, which is not among the results")
    .option("--filter <json>", "what metadata must be")
    .option("--top-k <n>", "at most so many (default: 10)", wholeNumber)
    .option("--threshold <score>", "least similarity; for euclidean the greatest distance", finiteNumber)
    .option("--index <name>", "one of the database's indexes, by its name or type (default: the first)")
    .option("--ef <n>", "HNSW: candidates kept on the way", wholeNumber)
    .option("--values", "with their values")
    .option("--explain", "what each segment of each shard did, instead of a table of results")
    .action((flags: SearchFlags, command: Command) =>
      withVectors(command, async ({ vectors, print }) => {
        const { filter, topK, threshold, index, ef, values: includeValues, explain, model: embeddingModel } = flags;
        const query = queryOf(flags);
        const filters = objectOf(filter, "--filter");
        const ask = {
          filters,
          topK,
          threshold,
          index,
          ef,
          includeValues,
          explain,
          embeddingModel,
          includeMetadata: true,
        };
        const { results, ...rest } = await vectors.search(query, ask);
        print(explain ? { results: results.map(shown), ...rest } : results.map(shown));
      }),
    );
}

export function addVectorCommands(program: Command): Command {
  const vector = program.command("vector").description("vectors of a database");
  addPut(vector);
  addReads(vector);
  addDelete(vector);
  addSearch(program);
  return vector;
}
