// The models of a tenant and what they make of texts: a thin shell of SQLite, blobs, timers and RPC. It lives in a Worker of its own
// (src/embedder.ts), for inference blocks its isolate.
// Guarantees: a model is active only when all its bytes are there, match their SHA-256 and can be run; what was deleted is answered by nobody;
// a tenant that has no models leaves nothing on disk. Must not: know vectors' databases.
import { DurableObject } from "cloudflare:workers";
import { EMBEDDING_MIGRATIONS } from "../migrations/embedding.ts";
import { STORAGE_MIGRATIONS } from "../migrations/storage.ts";
import { hexOf, recordIdOf, sha256Hex } from "../src/access/api-key.ts";
import { parseSettings, type Settings } from "../src/cluster/settings.ts";
import { type Item, requireInput } from "../src/embedding/item.ts";
import { type ModelDefinition, partCount, partLength, requireFamily } from "../src/embedding/model.ts";
import type { Outcome } from "../src/embedding/queue.ts";
import { EmbeddingRefusal } from "../src/embedding/refusal.ts";
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import { blobStoreOf } from "./blob-store.ts";
import { configSql } from "./config-sql.ts";
import type { EmbedderEnv } from "./embedder-env.ts";
import { type LoadedModel, loadModel } from "./embedder-families.ts";
import { embedderCounts, loadedModels, SHIPPED, waitingTexts } from "./embedder-isolate.ts";
import { cameWithServer, ModelRows, noSuchModel, type StoredModel } from "./embedder-models.ts";
import { LostPiece, ModelPieces } from "./embedder-pieces.ts";
import { EmbedderQueues } from "./embedder-queues.ts";
import type {
  EmbedAsk,
  Embedded,
  EmbedderRpc,
  ModelChanges,
  ModelInfo,
  ModelPart,
  StoredPart,
} from "./embedder-rpc.ts";
import { embeddedOf } from "./embedder-shown.ts";
import type { Env } from "./env.ts";
import { applyMigrations } from "./migrate.ts";
import { openProvider } from "./provider-family.ts";
import { loadRemotely, ModelAway } from "./remote-model.ts";
import { failure, type Mutation, type RpcFailure, type RpcResult } from "./tenancy-rpc.ts";
import { WriteRecords } from "./write-records.ts";

const MIB = 1024 * 1024;
/** Pieces that could not be deleted are tried again after this. Ms. */
const RETRY_MS = 10_000;

interface Tables {
  readonly models: ModelRows;
  readonly pieces: ModelPieces;
  readonly records: WriteRecords;
}

/** A model as it is run: a tenant's own, or one that came with the server. */
interface Source {
  readonly key: string;
  readonly definition: ModelDefinition;
  readonly stored?: StoredModel;
}

interface Ran {
  readonly model: LoadedModel;
  readonly outcomes: readonly Outcome[];
}

export class Embedder extends DurableObject<EmbedderEnv> implements EmbedderRpc {
  readonly #settings: Settings;
  readonly #queues: EmbedderQueues;
  readonly #loading = new Map<string, Promise<RpcResult<LoadedModel>>>();
  #tables: Tables | undefined;
  #isErased = false;

  constructor(ctx: DurableObjectState, env: EmbedderEnv) {
    super(ctx, env);
    this.#settings = parseSettings(env.JADE_CONFIG);
    this.#queues = new EmbedderQueues(this.#settings.embedding.maxWaitingTexts);
    const [table] = ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'embedding_models'").toArray();
    if (table) this.#open().pieces.wake();
  }

  /** Makes the tables at the first write. */
  #open(): Tables {
    if (this.#tables) return this.#tables;
    const { storage } = this.ctx;
    applyMigrations(storage, "storage", STORAGE_MIGRATIONS);
    applyMigrations(storage, "embedding", EMBEDDING_MIGRATIONS);
    const { sql } = storage;
    const blobs = blobStoreOf(
      this.env as unknown as Env,
      this.#settings,
      () => new SqliteBlobStore(configSql(storage)),
    );
    const newName = (): string => `embedding-${hexOf(crypto.getRandomValues(new Uint8Array(16)))}`;
    this.#tables = {
      models: new ModelRows(sql),
      pieces: new ModelPieces({ sql, blobs, newName }),
      records: new WriteRecords(sql, this.#settings.keyValue.idempotencyRetentionHours * 3_600_000),
    };
    return this.#tables;
  }

  #infoOf({ definition, status, generation, createdAtMs, updatedAtMs }: StoredModel): ModelInfo {
    const storedBytes = this.#open().pieces.storedBytes(generation);
    return { definition, status, isShipped: false, storedBytes, createdAtMs, updatedAtMs };
  }

  #shippedInfo(modelId: string): ModelInfo | undefined {
    const shipped = SHIPPED.get(modelId);
    if (!shipped) return undefined;
    const said = this.#tables?.models.shippedStatus(modelId);
    const { definition } = shipped;
    const times = { createdAtMs: 0, updatedAtMs: said?.updatedAtMs ?? 0 };
    return {
      definition,
      status: said?.status ?? "active",
      isShipped: true,
      storedBytes: definition.files[0]!.bytes,
      ...times,
    };
  }

  async createModel(definition: ModelDefinition, mutation: Mutation): Promise<RpcResult<ModelInfo>> {
    if (SHIPPED.has(definition.modelId))
      return failure("alreadyExists", `the embedding model "${definition.modelId}" comes with the server`);
    return this.#mutate(mutation, (nowMs) => {
      const { models } = this.#open();
      const refusal = models.add(definition, nowMs);
      return refusal ?? { ok: true, value: this.#infoOf(models.find(definition.modelId)!) };
    });
  }

  async listModels({
    after,
    limit,
  }: {
    readonly after: string;
    readonly limit: number;
  }): Promise<readonly ModelInfo[]> {
    const own = (this.#tables?.models.all() ?? []).map((model) => this.#infoOf(model));
    const shipped = [...SHIPPED.keys()].map((modelId) => this.#shippedInfo(modelId)!);
    const idOf = (info: ModelInfo): string => info.definition.modelId;
    const all = [...own, ...shipped].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
    return all.filter((info) => idOf(info) > after).slice(0, limit);
  }

  async findModel(modelId: string): Promise<ModelInfo | null> {
    const stored = this.#tables?.models.find(modelId);
    return stored ? this.#infoOf(stored) : (this.#shippedInfo(modelId) ?? null);
  }

  async putPart({ modelId, file: fileName, part }: ModelPart, bytes: Uint8Array): Promise<RpcResult<StoredPart>> {
    const stored = this.#tables?.models.find(modelId);
    if (!stored) return SHIPPED.has(modelId) ? cameWithServer(modelId) : noSuchModel(modelId);
    if (stored.status !== "uploading")
      return failure("conflict", `the files of "${modelId}" are complete: they cannot be changed`);
    const file = stored.definition.files.find(({ name }) => name === fileName);
    if (!file) return failure("notFound", `the model "${modelId}" names no file "${fileName.slice(0, 100)}"`);
    const refused = refusalOf(() => {
      const length = partLength(file, part);
      if (bytes.length === length) return;
      const message = `part ${part} of ${file.name} has ${length} bytes; ${bytes.length} came`;
      throw new EmbeddingRefusal("invalidRequest", message, {
        issues: [{ path: "body", message, value: bytes.length, limit: length }],
      });
    });
    if (refused) return refused;
    const { models, pieces } = this.#open();
    const { generation } = stored;
    const isKept = await pieces.put(
      { generation, file: file.name, part },
      bytes,
      () => models.find(modelId)?.generation === generation,
    );
    await this.#sweep();
    if (!isKept) return noSuchModel(modelId);
    const storedBytes = pieces.storedBytes(generation);
    const isWhole = stored.definition.files.every((one) => pieces.missingPart(generation, one) === undefined);
    return { ok: true, value: { modelId, file: file.name, part, bytes: bytes.length, storedBytes, isWhole } };
  }

  async changeModel(modelId: string, changes: ModelChanges, mutation: Mutation): Promise<RpcResult<ModelInfo>> {
    if (SHIPPED.has(modelId)) return this.#changeShipped(modelId, changes, mutation);
    const stored = this.#tables?.models.find(modelId);
    if (!stored) return noSuchModel(modelId);
    if (changes.parameters && stored.status !== "uploading")
      return failure(
        "conflict",
        "parameters decide what vectors are: they are fixed when a model is active; register another",
      );
    let outputDimension = stored.definition.outputDimension;
    if (changes.status && stored.status === "uploading") {
      if (changes.status === "disabled")
        return failure("conflict", `"${modelId}" is being uploaded; delete it, or make it active first`);
      const refused = refusalOf(() => requireFamily({ ...stored.definition, ...withoutStatus(changes) }));
      if (refused) return refused;
      const checked = await this.#check({ ...stored, definition: { ...stored.definition, ...withoutStatus(changes) } });
      if (!checked.ok) return checked;
      outputDimension = checked.value.dimension;
    }
    return this.#mutate(mutation, (nowMs) => {
      const { models } = this.#open();
      const now = models.find(modelId);
      if (now?.generation !== stored.generation) return noSuchModel(modelId);
      models.change({ ...now, definition: { ...now.definition, outputDimension } }, changes, nowMs);
      if (changes.status === "disabled") loadedModels.drop(this.#keyOf(stored));
      return { ok: true, value: this.#infoOf(models.find(modelId)!) };
    });
  }

  #changeShipped(
    modelId: string,
    { status, ...others }: ModelChanges,
    mutation: Mutation,
  ): Promise<RpcResult<ModelInfo>> {
    if (!status || Object.keys(others).length > 0) return Promise.resolve(cameWithServer(modelId));
    return this.#mutate(mutation, (nowMs) => {
      this.#open().models.changeShipped(this.ctx.storage.sql, modelId, status, nowMs);
      return { ok: true, value: this.#shippedInfo(modelId)! };
    });
  }

  async deleteModel(modelId: string, mutation: Mutation): Promise<RpcResult<{ modelId: string }>> {
    if (SHIPPED.has(modelId)) return cameWithServer(modelId);
    if (!this.#tables) return noSuchModel(modelId);
    const result = await this.#mutate(mutation, () => {
      const { models, pieces } = this.#open();
      const stored = models.find(modelId);
      if (!stored) return noSuchModel(modelId);
      pieces.abandon(stored.generation);
      models.remove(this.ctx.storage.sql, stored.generation);
      loadedModels.drop(this.#keyOf(stored));
      return { ok: true, value: { modelId } };
    });
    await this.#sweep();
    return result;
  }

  async embed({ modelId, texts, paths, budgetMs }: EmbedAsk): Promise<RpcResult<Embedded>> {
    embedderCounts.calls++;
    const dueMs = Date.now() + budgetMs;
    const source = this.#sourceOf(modelId);
    if (!source.ok) return source;
    const refused = refusalOf(() => requireInput(texts, paths, source.value.definition.inputType));
    if (refused) return refused;
    try {
      const ran = await this.#ran(source.value, texts, dueMs);
      if (!ran.ok) return ran;
      const { model, outcomes } = ran.value;
      // Deleted or disabled meanwhile: it answers nobody any more.
      const now = this.#sourceOf(modelId);
      if (!now.ok) return now;
      if (now.value.key !== source.value.key) return noSuchModel(modelId);
      embedderCounts.refused += outcomes.filter((outcome) => outcome instanceof EmbeddingRefusal).length;
      return { ok: true, value: embeddedOf({ modelId, dimension: model.dimension, outcomes, paths }) };
    } catch (error) {
      if (error instanceof EmbeddingRefusal) return failure(error.code, error.message, error.details);
      throw error;
    } finally {
      this.#noteWaiting();
    }
  }

  async #ran(source: Source, texts: readonly Item[], dueMs: number): Promise<RpcResult<Ran>> {
    for (let isAgain = false; ; isAgain = true) {
      const loaded = await this.#loaded(source);
      if (!loaded.ok) return loaded;
      const model = loaded.value;
      try {
        const work = this.#queues.of(source.definition.family).embed(model, texts, dueMs);
        this.#noteWaiting();
        return { ok: true, value: { model, outcomes: await work } };
      } catch (error) {
        if (!(error instanceof ModelAway) || isAgain) throw error;
        // Others may have brought it again meanwhile.
        if (loadedModels.get(model.key) === model) loadedModels.forget(model.key);
      }
    }
  }

  #noteWaiting(): void {
    const { waiting } = this.#queues;
    if (waiting === 0) waitingTexts.delete(this.ctx.id.toString());
    else waitingTexts.set(this.ctx.id.toString(), waiting);
  }

  #keyOf({ generation }: StoredModel): string {
    return `${this.ctx.id.toString()}/${generation}`;
  }

  #sourceOf(modelId: string): RpcResult<Source> {
    const stored = this.#tables?.models.find(modelId);
    const status = stored?.status ?? this.#shippedInfo(modelId)?.status;
    if (status === undefined) return noSuchModel(modelId);
    if (status === "uploading")
      return failure(
        "conflict",
        `the embedding model "${modelId}" is not complete: upload its files and make it active`,
      );
    if (status === "disabled") return failure("conflict", `the embedding model "${modelId}" is disabled`);
    if (stored) return { ok: true, value: { key: this.#keyOf(stored), definition: stored.definition, stored } };
    return { ok: true, value: { key: modelId, definition: SHIPPED.get(modelId)!.definition } };
  }

  /** From memory, or read into it; whoever asks meanwhile waits for the same reading. */
  async #loaded(source: Source): Promise<RpcResult<LoadedModel>> {
    const held = loadedModels.get(source.key);
    if (held) return { ok: true, value: held };
    const loading = this.#loading.get(source.key) ?? this.#load(source);
    this.#loading.set(source.key, loading);
    try {
      return await loading;
    } finally {
      this.#loading.delete(source.key);
    }
  }

  async #load({ key, definition, stored }: Source): Promise<RpcResult<LoadedModel>> {
    const files = new Map<string, Uint8Array>();
    try {
      for (const { name } of definition.files) {
        const bytes = stored
          ? this.#open().pieces.read(stored.generation, name)
          : SHIPPED.get(definition.modelId)!.bytes();
        files.set(name, await bytes);
      }
      const { MODEL_RUNNER } = this.env;
      const input = { key, definition, files };
      const model = await (definition.family === "remote"
        ? openProvider(input, {
            env: this.env,
            settings: this.#settings.embedding,
            isNew: stored?.status === "uploading",
          })
        : MODEL_RUNNER
          ? loadRemotely(MODEL_RUNNER, input)
          : loadModel(input));
      embedderCounts.loads++;
      loadedModels.add(model, this.#settings.embedding.memoryMiB * MIB);
      return { ok: true, value: model };
    } catch (error) {
      if (error instanceof LostPiece)
        return failure("dataCorrupt", `the embedding model "${definition.modelId}": ${error.message}`);
      if (error instanceof EmbeddingRefusal) return failure(error.code, error.message, error.details);
      throw error;
    }
  }

  /** All bytes are there, they are those that were announced, and they make a model of the dimension that was announced. */
  async #check(stored: StoredModel): Promise<RpcResult<LoadedModel>> {
    const { pieces } = this.#open();
    const { definition, generation } = stored;
    for (const file of definition.files) {
      const part = pieces.missingPart(generation, file);
      if (part !== undefined)
        return failure("conflict", `part ${part} of ${partCount(file)} of ${file.name} is not there yet`);
      if ((await sha256Hex(await pieces.read(generation, file.name))) !== file.sha256)
        return failure("invalidRequest", `the bytes of ${file.name} are not those whose sha256 was announced`);
    }
    const loaded = await this.#load({ key: this.#keyOf(stored), definition, stored });
    if (!loaded.ok) return loaded;
    const { outputDimension: announced } = definition;
    if (announced === null || announced === loaded.value.dimension) return loaded;
    loadedModels.drop(loaded.value.key);
    return failure(
      "invalidRequest",
      `the files make vectors of ${loaded.value.dimension} numbers; outputDimension is ${announced}`,
    );
  }

  async #mutate<T>(mutation: Mutation, mutate: (nowMs: number) => RpcResult<T>): Promise<RpcResult<T>> {
    const recordId = await recordIdOf(mutation.writeId);
    if (this.#isErased) return failure("notFound", "there is no such tenant");
    const { records } = this.#open();
    const nowMs = Date.now();
    const result = this.ctx.storage.transactionSync(() =>
      records.once({ recordId, mutation, nowMs, mutate: () => mutate(nowMs) }),
    );
    await this.#schedule();
    return result;
  }

  /** Deletes pieces that nothing needs; what fails is tried again by the alarm. */
  async #sweep(): Promise<void> {
    try {
      while (!(await this.#open().pieces.sweep())) {
        // Some at a time.
      }
    } catch (error) {
      console.warn(
        JSON.stringify({
          level: "warn",
          part: "embedder",
          message: "pieces of a model were not deleted",
          error: String(error),
        }),
      );
      await this.ctx.storage.setAlarm(Date.now() + RETRY_MS);
    }
  }

  async #schedule(): Promise<void> {
    const at = this.#tables?.records.nextPurgeAtMs() ?? null;
    const held = await this.ctx.storage.getAlarm();
    if (at !== null && (held === null || at < held)) await this.ctx.storage.setAlarm(at);
  }

  override async alarm(): Promise<void> {
    if (!this.#tables) return;
    this.#tables.records.purge(Date.now());
    await this.#sweep();
    await this.#schedule();
  }

  async erase(): Promise<void> {
    if (this.#tables) {
      for (const stored of this.#tables.models.all()) {
        this.#tables.pieces.abandon(stored.generation);
        loadedModels.drop(this.#keyOf(stored));
      }
      while (!(await this.#tables.pieces.sweep())) {
        // All of them, or the caller asks again.
      }
    }
    this.#tables = undefined;
    this.#isErased = true;
    waitingTexts.delete(this.ctx.id.toString());
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }
}

function withoutStatus({ status: _, ...rest }: ModelChanges): Omit<ModelChanges, "status"> {
  return rest;
}

function refusalOf(check: () => void): RpcFailure | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof EmbeddingRefusal) return failure(error.code, error.message, error.details);
    throw error;
  }
}
