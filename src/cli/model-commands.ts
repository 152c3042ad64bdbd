// `jade-db model …` and `jade-db embed`: embedding models, and vectors of texts.
// Must not: judge what a file holds; the server does.
import { basename, resolve } from "node:path";
import { type Command, Option } from "commander";
import type { EmbeddingInput, EmbeddingModel, NewModel, RemoteModel, Tensors } from "../client/index.ts";
import { withContext } from "./context.ts";
import { UsageError } from "./exit-codes.ts";
import { readBytes } from "./input.ts";
import { type FoundModel, modelFiles } from "./model-files.ts";
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
  readonly pooling?: "idf" | "mean" | "cls";
  readonly inflections?: "english";
  readonly windowTokens?: number;
  readonly graph?: string;
  readonly inputs?: string;
  readonly maxTokens?: number;
  readonly normalize: boolean;
}

function modelOf(modelId: string, flags: AddFlags, found: Omit<FoundModel, "files">): NewModel {
  const { name, modelVersion: version, provider, description, licence, source } = flags;
  const { pooling = found.parameters?.pooling, inflections, maxTokens, windowTokens, normalize } = flags;
  const parameters = { pooling, inflections, maxTokens, windowTokens, normalize };
  const about = { name, version, provider, description, licence, source };
  return { modelId, ...about, family: found.family, inputs: found.inputs, parameters };
}

function inputsOf(text: string): NewModel["inputs"] {
  const value = parsed(text, "--inputs");
  if (Array.isArray(value)) return value as NewModel["inputs"];
  throw new UsageError("--inputs must be a JSON list");
}

function parsed(text: string, flag: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${flag} is not JSON`);
  }
}

function addAdd(model: Command): void {
  model
    .command("add <path> [modelId]")
    .description(
      "make a model of a file of word vectors (GloVe, word2vec, fastText .bin, .jwv) or of a folder (model.onnx with tokenizer.json and config.json, with preprocessor_config.json, or with --inputs); needs scope admin",
    )
    .option("--name <name>", "for people (default: the id)")
    .option("--model-version <version>", "which one it is")
    .option("--provider <provider>", "who made it")
    .option("--description <text>", "for people")
    .option("--licence <licence>", "under which it was given")
    .option("--source <url>", "where it came from")
    .addOption(
      new Option(
        "--pooling <how>",
        "words: idf (default), mean; transformers: mean, cls (default: what the folder says)",
      ).choices(["idf", "mean", "cls"]),
    )
    .addOption(
      new Option("--inflections <language>", "words: unknown ones by the word that they are a form of").choices([
        "english",
      ]),
    )
    .option("--max-tokens <n>", "words of a text", wholeNumber)
    .option("--window-tokens <n>", "transformers: tokens seen at once (default: 256)", wholeNumber)
    .option("--graph <file>", "of several .onnx files in a folder, the one to take")
    .option("--inputs <json>", "of a graph that takes tensors: a list of {name, type, shape}")
    .option("--no-normalize", "vectors keep their length")
    .action((path: string, modelId: string | undefined, flags: AddFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        const inputs = flags.inputs === undefined ? undefined : inputsOf(flags.inputs);
        const { files, ...found } = modelFiles(path, { ...flags, inputs });
        const named = basename(resolve(path)).replace(/\.(txt|vec|bin|jwv)$/, "");
        const own = modelId ?? named.replace(/[^A-Za-z0-9._-]/g, "_").replace(/^[^A-Za-z0-9]+/, "");
        print(shown(await client.models.add(modelOf(own, flags, found), files)));
      }),
    );
}

interface RemoteFlags {
  readonly provider: RemoteModel["provider"];
  readonly model: string;
  readonly url?: string;
  readonly secret?: string;
  readonly timeoutMs?: number;
  readonly dimensions?: number;
  readonly normalize: boolean;
}

function addRemote(model: Command): void {
  model
    .command("add-remote <modelId>")
    .description("make a model of one that somebody else runs; needs scope admin")
    .addOption(
      new Option("--provider <provider>", "who runs it: an endpoint as OpenAI's, or Workers AI")
        .choices(["openai", "workers-ai"])
        .default("openai"),
    )
    .requiredOption("--model <name>", "by the provider's name for it")
    .option("--url <url>", "the whole address, such as https://api.openai.com/v1/embeddings")
    .option("--secret <name>", "the operator's secret that holds the key")
    .option("--timeout-ms <n>", "of one try (default: 5000)", wholeNumber)
    .option("--dimensions <n>", "asked of models that can give shorter vectors", wholeNumber)
    .option("--no-normalize", "vectors keep their length")
    .action((modelId: string, { normalize, ...remote }: RemoteFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        print(shown(await client.models.add({ modelId, family: "remote", remote, parameters: { normalize } }, [])));
      }),
    );
}

/** Without what is of no use to read. */
function shown({ files, partBytes: _, ...model }: EmbeddingModel): object {
  return { ...model, files: files.map(({ name }) => name).join(" ") };
}

interface EmbedFlags {
  readonly model: string;
  readonly image?: readonly string[];
  readonly tensor?: string;
}

/** What is sent, and what it is called in the output. */
function embedInputs(
  texts: readonly string[],
  { image: files = [], tensor }: EmbedFlags,
): readonly { readonly input: EmbeddingInput; readonly shown: object }[] {
  const inputs = [
    ...texts.map((text) => ({ input: text, shown: { text } })),
    ...files.map((image) => ({ input: { image: readBytes(image) }, shown: { image } })),
    ...(tensor === undefined ? [] : [{ input: { tensor: parsed(tensor, "--tensor") as Tensors }, shown: {} }]),
  ];
  if (inputs.length === 0) throw new UsageError("give texts, --image or --tensor");
  return inputs;
}

export function addModelCommands(program: Command): void {
  const model = program.command("model").description("embedding models");
  addAdd(model);
  addRemote(model);
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
    .command("embed [text...]")
    .description("print the vectors of texts, of images, or of tensors")
    .requiredOption("--model <modelId>", "which one")
    .option("--image <file...>", "PNG or JPEG files, instead of texts")
    .option("--tensor <json>", 'instead of texts: {"input": {"data": [...], "shape": [...]}}')
    .action((texts: readonly string[], flags: EmbedFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        const inputs = embedInputs(texts, flags);
        const embedded = await client.models.embed(
          inputs.map(({ input }) => input),
          flags.model,
        );
        print(
          embedded.map(({ values, ...rest }, at) => {
            return { ...inputs[at]!.shown, values: Array.from(values, (value) => Number(floatText(value))), ...rest };
          }),
        );
      }),
    );
}
