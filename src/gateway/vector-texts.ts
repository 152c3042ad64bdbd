// Texts, images and tensors in place of vectors: which model a database has for them, and what it makes of them.
// Guarantees: they are embedded before anything of their request is stored; a model that does not fit the database is refused. Must not: be in
// the way of requests that bring their vectors.
import type { ModelInfo } from "../../objects/embedder-rpc.ts";
import { INPUT_TYPES, type InputType, inputTypeOf } from "../embedding/item.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { Call } from "./call.ts";
import { itemOfFields, type PlacedItem, type RawFields } from "./embed-items.ts";
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

/** `other` is the specification's word for what is neither text nor image. */
const isFor = ({ inputType = "text" }: NamedModel, type: InputType): boolean =>
  inputType === type || (type === "tensor" && inputType === "other");
const idOf = ({ modelId, name }: NamedModel): string => modelId ?? name!;

/** The model that a database names for what came: the first, or the one that the request asks for. */
async function modelFor(
  call: Call,
  database: KnownDatabase,
  { type, asked }: { readonly type: InputType; readonly asked: string | undefined },
): Promise<string> {
  const { record, generation } = await findDatabase(call, database);
  // Its vectors were made anew by another model: these shards are not the database's any more.
  if (generation !== database.generation) throw new DatabaseGone();
  const models = (record.embeddingModels as readonly NamedModel[]).filter((model) => isFor(model, type));
  if (asked !== undefined) {
    const named = models.find(({ modelId, name }) => modelId === asked || name === asked);
    return named ? idOf(named) : asked;
  }
  const [first] = models;
  if (first) return idOf(first);
  const message = `of the database name no model for ${type}s; give embeddingModel, or vectors`;
  throw invalidRequest([{ path: "embeddingModels", message }]);
}

/** Values of each as the database takes them, or its refusal. */
async function valuesOf(
  call: Call,
  database: KnownDatabase,
  { items, model }: { readonly items: readonly PlacedItem[]; readonly model?: string | undefined },
): Promise<readonly (Uint8Array | PublicError)[]> {
  const outcomes: (Uint8Array | PublicError)[] = [];
  for (const type of INPUT_TYPES) {
    const places = [...items.keys()].filter((at) => inputTypeOf(items[at]!.item) === type);
    if (places.length === 0) continue;
    const modelId = await modelFor(call, database, { type, asked: model });
    const values = await valuesBy(call, database, { items: places.map((at) => items[at]!), modelId });
    for (const [n, at] of places.entries()) outcomes[at] = values[n]!;
  }
  return outcomes;
}

/** All of what one model takes. */
async function valuesBy(
  call: Call,
  { tenant, dimension }: KnownDatabase,
  { items, modelId }: { readonly items: readonly PlacedItem[]; readonly modelId: string },
): Promise<readonly (Uint8Array | PublicError)[]> {
  const asked = { tenant, modelId, texts: items.map(({ item }) => item), paths: items.map(({ path }) => path) };
  const outcomes = await embedTexts(call, asked);
  return outcomes.map((outcome) => {
    if (outcome instanceof PublicError) return outcome;
    const made = outcome.values.length / 4;
    if (made === dimension) return outcome.values;
    const message = `"${modelId}" makes vectors of ${made} numbers; the database has vectorDimension ${dimension}`;
    throw invalidRequest([{ path: "embeddingModel", message, value: made, limit: dimension }]);
  });
}

/** Of what is all needed. @throws PublicError the first refusal */
export async function requireValues(
  call: Call,
  database: KnownDatabase,
  asked: { readonly items: readonly PlacedItem[]; readonly model?: string | undefined },
): Promise<readonly Uint8Array[]> {
  const all = await valuesOf(call, database, asked);
  return all.map((values) => {
    if (values instanceof PublicError) throw values;
    return values;
  });
}

interface GivenValues extends RawFields {
  /** JSON numbers, or what came in their place. */
  readonly values?: unknown;
}

/** float32 of one vector's `values`, or of what stands in their place; undefined = it has neither. */
export async function givenValues(
  call: Call,
  database: KnownDatabase,
  { values, ...fields }: GivenValues,
): Promise<Uint8Array | undefined> {
  const placed = itemOfFields(fields);
  if (values !== undefined && placed)
    throw invalidRequest([{ path: placed.path, message: "is given beside values; give one of them" }]);
  if (values !== undefined) return floatsOf(values, "values");
  return placed && (await requireValues(call, database, { items: [placed] }))[0];
}

/** The vectors of a batch, with values in the place of texts and images; one that is refused is its item's failure. */
export async function withoutTexts(
  call: Call,
  database: KnownDatabase,
  items: readonly BatchItem[],
): Promise<readonly BatchItem[]> {
  const places: number[] = [];
  const given: PlacedItem[] = [];
  for (const [at, item] of items.entries()) {
    if (!("input" in item) || item.given === undefined) continue;
    places.push(at);
    given.push({ ...item.given, path: `vectors[${at}].${item.given.path}` });
  }
  if (given.length === 0) return items;
  const embedded = await valuesOf(call, database, { items: given });
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

interface NamingBody<Model extends NamedModel> {
  readonly embeddingModels?: readonly Model[] | undefined;
  readonly vectorDimension?: number | undefined;
}

/**
 * Models that a database is to name by `modelId` are there, and make vectors of its dimension. Gives that dimension, where it is not said, and the
 * models with what they take, where that is no text.
 */
export async function requireModels<Model extends NamedModel>(
  call: Call,
  tenant: number,
  { embeddingModels = [], vectorDimension }: NamingBody<Model>,
): Promise<{ readonly vectorDimension: number; readonly embeddingModels: Model[] }> {
  let dimension = vectorDimension;
  const named = [...embeddingModels];
  for (const [at, { modelId, inputType }] of embeddingModels.entries()) {
    if (modelId === undefined) continue;
    const path = `embeddingModels[${at}]`;
    const { definition } = await modelAt(call, { tenant, modelId, path });
    if (inputType === undefined && definition.inputType !== "text")
      named[at] = { ...named[at]!, inputType: definition.inputType };
    if (inputType !== undefined && !isFor({ inputType }, definition.inputType))
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
  return { vectorDimension: dimension, embeddingModels: named };
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
