// `jade-db model …` and `jade-db embed`: embedding models, and vectors of texts.
// Must not: judge what a file holds; the server does.
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { type Command, Option } from "commander";
import type { EmbeddingModel, NewModel } from "../client/index.ts";
import { withContext } from "./context.ts";
import { UsageError } from "./exit-codes.ts";
import { readBytes } from "./input.ts";
import { collect, wholeNumber } from "./tenant-commands.ts";
import { floatText } from "./vectors/rows.ts";

const tenant = { key: "tenant" } as const;

interface AddFlags {
  readonly name?: string;
  readonly modelVersion?: string;
  readonly provider?: string;
  readonly description?: string;
  readonly licence?: string;
  readonly source?: string;
  readonly pooling?: "idf" | "mean";
  readonly maxTokens?: number;
  readonly normalize: boolean;
}

/** The file itself, or the only one of a folder. */
function fileOf(path: string): string {
  if (!existsSync(path)) throw new UsageError(`there is no ${path}`);
  if (!statSync(path).isDirectory()) return path;
  const names = readdirSync(path).filter((name) => !name.startsWith(".") && !/^(readme|licen[cs]e)/i.test(name));
  if (names.length === 1) return join(path, names[0]!);
  throw new UsageError(`${path} holds ${names.length} files; a model of word vectors is one: name it`);
}

function modelOf(modelId: string | undefined, flags: AddFlags): NewModel {
  const { name, modelVersion: version, provider, description, licence, source, pooling, maxTokens, normalize } = flags;
  return {
    modelId,
    name,
    version,
    provider,
    description,
    licence,
    source,
    parameters: { pooling, maxTokens, normalize },
  };
}

function addAdd(model: Command): void {
  model
    .command("add <path> [modelId]")
    .description(
      "upload a file of word vectors (GloVe, word2vec, fastText .bin, .jwv) and make it a model; needs scope admin",
    )
    .option("--name <name>", "for people (default: the id)")
    .option("--model-version <version>", "which one it is")
    .option("--provider <provider>", "who made it")
    .option("--description <text>", "for people")
    .option("--licence <licence>", "under which it was given")
    .option("--source <url>", "where it came from")
    .addOption(new Option("--pooling <how>", "what a word weighs (default: idf)").choices(["idf", "mean"]))
    .option("--max-tokens <n>", "words of a text", wholeNumber)
    .option("--no-normalize", "vectors keep their length")
    .action((path: string, modelId: string | undefined, flags: AddFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        const file = fileOf(path);
        const name = basename(file).replace(/[^A-Za-z0-9._-]/g, "_");
        const bytes = readBytes(file);
        const own = modelId ?? name.replace(/\.(txt|vec|bin|jwv)$/, "").replace(/^[^A-Za-z0-9]+/, "");
        print(shown(await client.models.add(modelOf(own, flags), [{ name, bytes }])));
      }),
    );
}

/** Without what is of no use to read. */
function shown({ files, partBytes: _, ...model }: EmbeddingModel): object {
  return { ...model, files: files.map(({ name }) => name).join(" ") };
}

export function addModelCommands(program: Command): void {
  const model = program.command("model").description("embedding models");
  addAdd(model);
  model
    .command("list")
    .description("list the models that the tenant has")
    .action((_flags: object, command: Command) =>
      withContext(command, tenant, async ({ client, flags, print }) => {
        const all = await collect(client.models.list());
        if (flags.output !== "table") return print(all);
        print(
          all.map(({ modelId, name, family, inputType, outputDimension, status, licence }) => {
            return { modelId, name, family, inputType, outputDimension, status, licence };
          }),
        );
      }),
    );
  for (const [name, call, description] of [
    ["describe", "get", "show a model"],
    ["enable", "enable", "let a model be used again; needs scope admin"],
    ["disable", "disable", "let a model not be used; needs scope admin"],
  ] as const) {
    model
      .command(`${name} <modelId>`)
      .description(description)
      .action((modelId: string, _flags: object, command: Command) =>
        withContext(command, tenant, async ({ client, print }) => print(shown(await client.models[call](modelId)))),
      );
  }
  model
    .command("delete <modelId>")
    .description("delete a model with its files; needs scope admin")
    .action((modelId: string, _flags: object, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        await client.models.delete(modelId);
        print({ modelId, deleted: true });
      }),
    );
  program
    .command("embed <text...>")
    .description("print the vectors of texts")
    .requiredOption("--model <modelId>", "which one")
    .action((texts: readonly string[], { model: modelId }: { readonly model: string }, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        const embedded = await client.models.embed(texts, modelId);
        print(
          embedded.map(({ values, ...rest }, at) => {
            return { text: texts[at], values: Array.from(values, (value) => Number(floatText(value))), ...rest };
          }),
        );
      }),
    );
}
