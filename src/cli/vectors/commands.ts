// `jade-db import vectors` and `jade-db export vectors`.
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { JadeError } from "../../client/index.ts";
import { type Context, withContext } from "../context.ts";
import { CommandFailure, UsageError } from "../exit-codes.ts";
import { wholeNumber } from "../tenant-commands.ts";
import { addDatabaseOptions } from "../vector-commands.ts";
import { diskFile } from "./disk-file.ts";
import { exportVectors } from "./export.ts";
import { BARE_FORMATS, type FormatOptions, formatOf, type VectorFormat } from "./formats.ts";
import { importVectors, type RefusedText } from "./import.ts";
import type { ReadOptions } from "./rows.ts";
import { SIDECAR_SUFFIX } from "./sidecar.ts";
import { verifyVectors } from "./verify.ts";

const tenant = { key: "tenant" } as const;

interface Flags {
  readonly database: string;
  readonly namespace?: string;
  readonly verify?: boolean;
  readonly restart?: boolean;
}

interface ImportFlags extends Flags {
  readonly idColumn?: string;
  readonly valuesColumn?: string;
  readonly metadataColumns?: string;
  readonly idPrefix?: string;
  readonly textColumn?: string;
  readonly model?: string;
  readonly skipRefused?: boolean;
  readonly batchSize?: number;
  readonly concurrency: number;
}

interface ExportFlags extends Flags {
  readonly out: string;
}

/**
 * What was said. The command above, of keys, takes options of its own names for itself wherever they stand; those that mean nothing
 * here are refused.
 */
function flagsOf<F extends Flags>(command: Command): F {
  const flags: Record<string, unknown> = command.opts();
  const { parent } = command;
  for (const option of parent?.options ?? []) {
    const name = option.attributeName();
    if (parent?.getOptionValueSource(name) !== "cli") continue;
    if (!command.options.some((own) => own.attributeName() === name))
      throw new UsageError(`${option.long ?? name} is for keys; it means nothing for vectors`);
    flags[name] = parent.getOptionValue(name);
  }
  return flags as unknown as F;
}

/** The database, and what tells it from others. */
async function opened({ client, flags }: Context, { database, namespace = "default" }: Flags) {
  const { vectorDimension, metric } = await client.databases.namespace(namespace).get(database);
  const vectors = client.vectors(database, { namespace });
  return { vectors, metric, dimension: vectorDimension, target: `${flags.url} ${namespace}/${database}` };
}

function formatOptions(path: string, format: VectorFormat, read: ReadOptions): FormatOptions {
  const sidecar = path + SIDECAR_SUFFIX;
  return { ...read, sidecar: BARE_FORMATS.has(format) && existsSync(sidecar) ? diskFile(sidecar) : undefined };
}

const MAX_TOLD = 20;
const TEXT_FORMATS: ReadonlySet<VectorFormat> = new Set(["jsonl", "csv"]);

function requireTextFlags({ textColumn, model, skipRefused, verify, valuesColumn }: ImportFlags, format: VectorFormat) {
  if (textColumn === undefined) {
    if (model !== undefined || skipRefused) throw new UsageError("--model and --skip-refused ask for --text-column");
    return;
  }
  if (!TEXT_FORMATS.has(format)) throw new UsageError(`--text-column is for .jsonl and .csv files, not .${format}`);
  if (valuesColumn !== undefined) throw new UsageError("--values-column is given beside --text-column; give one");
  if (verify) throw new UsageError("--verify compares values; a text has none");
}

/** The database is there and embeds texts by this model; one that is not there is made. */
async function requireModel({ client }: Context, { database, namespace = "default" }: Flags, modelId: string) {
  const databases = client.databases.namespace(namespace);
  try {
    const { embeddingModels } = await databases.get(database);
    const named = (embeddingModels as readonly { modelId?: string; name?: string; inputType?: string }[]).filter(
      ({ inputType = "text" }) => inputType === "text",
    )[0];
    const held = named?.modelId ?? named?.name;
    if (held === modelId) return;
    const what = held === undefined ? "no model for texts" : `the model "${held}" for texts`;
    throw new UsageError(
      `the database "${database}" names ${what}, not "${modelId}": its vectors could not be compared`,
    );
  } catch (error) {
    if (!(error instanceof JadeError) || error.code !== "notFound") throw error;
  }
  await databases.create({ databaseId: database, embeddingModels: [{ modelId }] });
  console.error(`made the database "${database}" for the model "${modelId}"`);
}

function columnNames(text: string | undefined): readonly string[] | undefined {
  const names = text?.split(",").map((name) => name.trim());
  return names?.filter((name) => name !== "");
}

function addImport(importCommand: Command): void {
  addDatabaseOptions(importCommand.command("vectors <file>"))
    .description(
      "write every row of a .jsonl, .csv, .parquet, .npy, .fvecs or .bvecs file; run again after a failure, it goes on where it stopped",
    )
    .option("--id-column <name>", "default: id")
    .option("--values-column <name>", "default: values; in CSV files else the columns v0, v1, …")
    .option("--metadata-columns <names>", "separated by commas (default: metadata, else all others)")
    .option("--id-prefix <text>", "make ids of this and the row's number from 0")
    .option("--text-column <name>", "texts in place of values: the database's model makes the vectors")
    .option(
      "--model <modelId>",
      "with --text-column: the database's model; a database that is not there is made for it",
    )
    .option("--skip-refused", "with --text-column: leave texts out that have no vector, and tell them")
    .option("--batch-size <n>", "vectors of one request (default: 1000; 200 texts)", wholeNumber)
    .option("--concurrency <n>", "requests under way at once", wholeNumber, 4)
    .option("--verify", "read everything back and compare; search for some of them")
    .option("--restart", "forget an earlier import of this file that stopped")
    .action((path: string, _flags: object, command: Command) =>
      withContext(command, tenant, async (context) => {
        const flags = flagsOf<ImportFlags>(command);
        if (!existsSync(path)) throw new UsageError(`${path} does not exist`);
        const format = formatOf(path);
        requireTextFlags(flags, format);
        const { idColumn, valuesColumn, idPrefix, textColumn, concurrency, restart = false } = flags;
        const { batchSize: batchRows = textColumn === undefined ? 1000 : 200 } = flags;
        const metadataColumns = columnNames(flags.metadataColumns);
        const read = formatOptions(path, format, { idColumn, valuesColumn, metadataColumns, idPrefix, textColumn });
        if (flags.model !== undefined) await requireModel(context, flags, flags.model);
        const { vectors, metric, target } = await opened(context, flags);
        const file = diskFile(path);
        const common = { vectors, target, file, format, read, batchRows, concurrency, restart };
        const refused: RefusedText[] = [];
        const onRefused = flags.skipRefused ? (one: RefusedText) => void refused.push(one) : undefined;
        const rows = await importVectors({ ...common, onRefused }).catch((error: unknown) => {
          if (textColumn !== undefined && !flags.skipRefused && error instanceof CommandFailure)
            console.error("--skip-refused leaves such texts out; the same command goes on after what is stored");
          throw error;
        });
        for (const { place, id, why } of refused.slice(0, MAX_TOLD))
          console.error(`left out: ${place}, id ${JSON.stringify(id)}: ${why}`);
        const check = flags.verify ? await verifyVectors({ vectors, metric, file, format, read, isWhole: false }) : {};
        const leftOut = flags.skipRefused ? { leftOut: refused.length } : {};
        context.print({ file: path, vectors: rows - refused.length, ...leftOut, ...check });
      }),
    );
}

function addExport(exportCommand: Command): void {
  addDatabaseOptions(exportCommand.command("vectors"))
    .description("write all vectors of a database to a file; run again after a failure, it goes on where it stopped")
    .requiredOption("--out <file>", "its format is told by its extension, as for an import")
    .option("--verify", "read everything back and compare; search for some of them")
    .option("--restart", "forget an earlier export to this file that stopped")
    .action((_flags: object, command: Command) =>
      withContext(command, tenant, async (context) => {
        const flags = flagsOf<ExportFlags>(command);
        const { out, restart = false } = flags;
        const format = formatOf(out);
        const { vectors, metric, dimension, target } = await opened(context, flags);
        const rows = await exportVectors({ vectors, target, file: out, format, dimension, restart });
        const read = formatOptions(out, format, {});
        const file = diskFile(out);
        const check = flags.verify ? await verifyVectors({ vectors, metric, file, format, read, isWhole: true }) : {};
        context.print({ file: out, vectors: rows, ...check });
      }),
    );
}

/** Beside `import <file>` and `export <file>` of keys: a file of that name is written ./vectors. */
export function addVectorTransferCommands(importCommand: Command, exportCommand: Command): void {
  addImport(importCommand);
  addExport(exportCommand);
}
