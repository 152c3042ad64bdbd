// A tenant's models as rows: which there are, their states, and what a tenant says of those that come with the server.
// Guarantees: synchronous; a change of a state that is not possible is refused. Must not: do I/O.
import { MAX_MODELS_PER_TENANT, MAX_TENANT_MODEL_BYTES } from "../src/embedding/limits.ts";
import type { ModelDefinition, ModelStatus } from "../src/embedding/model.ts";
import { CheckedTable } from "./checked-rows.ts";
import type { ModelChanges } from "./embedder-rpc.ts";
import { failure, type RpcFailure, type RpcResult } from "./tenancy-rpc.ts";

type Row = {
  generation: number;
  model_id: string;
  status: ModelStatus;
  definition: string;
  created_at_ms: number;
  updated_at_ms: number;
  crc: number | null;
};

type ShippedRow = { model_id: string; status: ModelStatus; updated_at_ms: number; crc: number | null };

export interface StoredModel {
  readonly generation: number;
  readonly status: ModelStatus;
  readonly definition: ModelDefinition;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

const sizeOf = ({ files }: ModelDefinition): number => files.reduce((sum, { bytes }) => sum + bytes, 0);

export class ModelRows {
  readonly #rows: CheckedTable<Row>;
  readonly #shipped: CheckedTable<ShippedRow>;

  /** The tables of migrations/embedding.ts must exist. */
  constructor(sql: SqlStorage) {
    this.#rows = new CheckedTable(sql, "embedding_models", "generation");
    this.#shipped = new CheckedTable(sql, "embedding_shipped", "model_id");
  }

  find(modelId: string): StoredModel | undefined {
    const [row] = this.#rows.select("WHERE model_id = ?", modelId);
    return row && modelOf(row);
  }

  all(): readonly StoredModel[] {
    return this.#rows.select("ORDER BY model_id").map(modelOf);
  }

  add(definition: ModelDefinition, nowMs: number): RpcFailure | undefined {
    const { modelId } = definition;
    if (this.find(modelId)) return failure("alreadyExists", `there is an embedding model "${modelId}"`);
    const all = this.all();
    if (all.length >= MAX_MODELS_PER_TENANT) return exceeded("embeddingModels", all.length, MAX_MODELS_PER_TENANT);
    const used = all.reduce((sum, model) => sum + sizeOf(model.definition), 0);
    if (used + sizeOf(definition) > MAX_TENANT_MODEL_BYTES)
      return exceeded("embeddingModelBytes", used, MAX_TENANT_MODEL_BYTES);
    const times = { created_at_ms: nowMs, updated_at_ms: nowMs };
    this.#rows.insert({ model_id: modelId, status: "uploading", definition: JSON.stringify(definition), ...times });
    return undefined;
  }

  change({ generation, definition }: StoredModel, { status, ...changes }: ModelChanges, nowMs: number): void {
    const text = JSON.stringify({ ...definition, ...changes });
    const set = "definition = ?, updated_at_ms = ?, status = COALESCE(?, status)";
    this.#rows.update({ set, to: [text, nowMs, status ?? null], where: "generation = ?", of: [generation] });
  }

  remove(sql: SqlStorage, generation: number): void {
    sql.exec("DELETE FROM embedding_models WHERE generation = ?", generation);
  }

  shippedStatus(modelId: string): { readonly status: ModelStatus; readonly updatedAtMs: number } | undefined {
    const [row] = this.#shipped.select("WHERE model_id = ?", modelId);
    return row && { status: row.status, updatedAtMs: row.updated_at_ms };
  }

  changeShipped(sql: SqlStorage, modelId: string, status: ModelStatus, nowMs: number): void {
    sql.exec("DELETE FROM embedding_shipped WHERE model_id = ?", modelId);
    this.#shipped.insert({ model_id: modelId, status, updated_at_ms: nowMs });
  }
}

function exceeded(quota: string, used: number, limit: number): RpcFailure {
  return failure("quotaExceeded", `the tenant has used ${used} of its ${quota}; the limit is ${limit}`, {
    quota,
    used,
    limit,
  });
}

function modelOf({ generation, status, definition, created_at_ms, updated_at_ms }: Row): StoredModel {
  const parsed = JSON.parse(definition) as ModelDefinition;
  return { generation, status, definition: parsed, createdAtMs: created_at_ms, updatedAtMs: updated_at_ms };
}

/** What is answered for a model that is not there. */
export function noSuchModel(modelId: string): RpcResult<never> & RpcFailure {
  return failure("notFound", `there is no embedding model "${modelId.slice(0, 100)}"`);
}

/** What is answered to a change of one that everybody has. */
export function cameWithServer(modelId: string): RpcFailure {
  return failure(
    "conflict",
    `the embedding model "${modelId}" comes with the server: it can be enabled and disabled, nothing else`,
  );
}
