// Texts in place of vectors: which model a database has for them, and what it makes of them.
// Guarantees: a text is embedded before anything of its request is stored; a model that does not fit the database is refused. Must not: be in
// the way of requests that bring their vectors.
import type { ModelInfo } from "../../objects/embedder-rpc.ts";
import type { DatabaseRecord } from "../vector/database/record.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { Call } from "./call.ts";
import { embedTexts } from "./embedding-call.ts";
import { findModel } from "./embedding-models.ts";
import { invalidRequest } from "./issues.ts";
import type { BatchItem } from "./vector-batch-body.ts";
import { DatabaseGone, findDatabase, type KnownDatabase } from "./vector-databases.ts";
import { floatsOf } from "./vector-fields.ts";

/** An entry of a database's `embeddingModels`. */
interface NamedModel {
  readonly modelId?: string | undefined;
  readonly name?: string | undefined;
  readonly inputType?: string | undefined;
}

const isForTexts = ({ inputType }: NamedModel): boolean => inputType === undefined || inputType === "text";
const idOf = ({ modelId, name }: NamedModel): string => modelId ?? name!;

/** The model that a database names for texts: the first, or the one that the request asks for. */
async function textModel(call: Call, database: KnownDatabase, asked: string | undefined): Promise<string> {
  const { record, generation } = await findDatabase(call, database);
  // Its vectors were made anew by another model: these shards are not the database's any more.
  if (generation !== database.generation) throw new DatabaseGone();
  const models = (record.embeddingModels as readonly NamedModel[]).filter(isForTexts);
  if (asked !== undefined) {
    const named = models.find(({ modelId, name }) => modelId === asked || name === asked);
    return named ? idOf(named) : asked;
  }
  const [first] = models;
  if (first) return idOf(first);
  const message = "of the database name no model for texts; give embeddingModel, or vectors";
  throw invalidRequest([{ path: "embeddingModels", message }]);
}

export interface PlacedText {
  readonly text: string;
  /** What it is called in the request. */
  readonly path: string;
}

/** Values of each text as the database takes them, or its refusal. */
async function valuesOf(
  call: Call,
  database: KnownDatabase,
  { texts, model }: { readonly texts: readonly PlacedText[]; readonly model?: string | undefined },
): Promise<readonly (Uint8Array | PublicError)[]> {
  const modelId = await textModel(call, database, model);
  const { tenant, dimension } = database;
  const asked = { tenant, modelId, texts: texts.map(({ text }) => text), paths: texts.map(({ path }) => path) };
  const outcomes = await embedTexts(call, asked);
  return outcomes.map((outcome) => {
    if (outcome instanceof PublicError) return outcome;
    const made = outcome.values.length / 4;
    if (made === dimension) return outcome.values;
    const message = `"${modelId}" makes vectors of ${made} numbers; the database has vectorDimension ${dimension}`;
    throw invalidRequest([{ path: "embeddingModel", message, value: made, limit: dimension }]);
  });
}

/** Of texts that are all needed. @throws PublicError the first refusal */
export async function requireValues(
  call: Call,
  database: KnownDatabase,
  asked: { readonly texts: readonly PlacedText[]; readonly model?: string | undefined },
): Promise<readonly Uint8Array[]> {
  const all = await valuesOf(call, database, asked);
  return all.map((values) => {
    if (values instanceof PublicError) throw values;
    return values;
  });
}

interface GivenValues {
  readonly values?: readonly number[] | undefined;
  readonly text?: string | undefined;
}

/** float32 of one vector's `values` or `text`; undefined = it has neither. */
export async function givenValues(
  call: Call,
  database: KnownDatabase,
  { values, text }: GivenValues,
): Promise<Uint8Array | undefined> {
  if (values !== undefined && text !== undefined)
    throw invalidRequest([{ path: "text", message: "is given beside values; give one of them" }]);
  if (values) return floatsOf(values, "values");
  if (text === undefined) return undefined;
  return (await requireValues(call, database, { texts: [{ text, path: "text" }] }))[0];
}

/** The vectors of a batch, with values in the place of texts; a text that is refused is its item's failure. */
export async function withoutTexts(
  call: Call,
  database: KnownDatabase,
  items: readonly BatchItem[],
): Promise<readonly BatchItem[]> {
  const places: number[] = [];
  const texts: PlacedText[] = [];
  for (const [at, item] of items.entries()) {
    if (!("input" in item) || item.text === undefined) continue;
    places.push(at);
    texts.push({ text: item.text, path: `vectors[${at}].text` });
  }
  if (texts.length === 0) return items;
  const embedded = await valuesOf(call, database, { texts });
  const done = [...items];
  for (const [n, at] of places.entries()) {
    const { input } = items[at] as Extract<BatchItem, { readonly input: unknown }>;
    const values = embedded[n]!;
    if (values instanceof PublicError) {
      const { code, message, details } = values;
      done[at] = { id: input.id, failure: { kind: "error", code, message, ...(details && { details }) } };
    } else done[at] = { input: { ...input, values } };
  }
  return done;
}

/** Models that a database is to name by `modelId` are there, and make vectors of its dimension; that dimension, where it is not said. */
export async function requireModels(
  call: Call,
  tenant: number,
  {
    embeddingModels = [],
    vectorDimension,
  }: {
    readonly embeddingModels?: readonly NamedModel[] | undefined;
    readonly vectorDimension?: number | undefined;
  },
): Promise<DatabaseRecord["vectorDimension"]> {
  let dimension = vectorDimension;
  for (const [at, { modelId, inputType }] of embeddingModels.entries()) {
    if (modelId === undefined) continue;
    const path = `embeddingModels[${at}]`;
    const { definition } = await modelAt(call, { tenant, modelId, path });
    if (inputType !== undefined && inputType !== definition.inputType)
      throw invalidRequest([
        { path: `${path}.inputType`, message: `is ${inputType}; the model takes ${definition.inputType}` },
      ]);
    const { outputDimension } = definition;
    dimension ??= outputDimension ?? undefined;
    if (outputDimension === null || outputDimension === dimension) continue;
    const message = `makes vectors of ${outputDimension} numbers; vectorDimension is ${dimension}`;
    throw invalidRequest([{ path: `${path}.modelId`, message, value: outputDimension, limit: dimension }]);
  }
  if (dimension === undefined)
    throw invalidRequest([{ path: "vectorDimension", message: "is required, or a modelId in embeddingModels" }]);
  return dimension;
}

interface AskedModel {
  readonly tenant: number;
  readonly modelId: string;
  readonly path: string;
}

async function modelAt(call: Call, { tenant, modelId, path }: AskedModel): Promise<ModelInfo> {
  try {
    return await findModel(call, tenant, modelId);
  } catch (error) {
    if (!(error instanceof PublicError) || error.code !== "notFound") throw error;
    throw invalidRequest([
      { path: `${path}.modelId`, message: `names no embedding model: ${error.message}`, value: modelId },
    ]);
  }
}
