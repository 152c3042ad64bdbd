// A database's vectors made anew by another model: what its record knows of it, and what of a page of rows has to be done.
// Must not: do I/O.
import type { VectorShown, VectorStamp } from "../../wire/vector.ts";

/**
 * running: rows are made beside the old ones. switching: writes are held up while what changed last is made, then the new rows are the
 * database's. done, failed, cancelled: over.
 */
export type ReembeddingState = "running" | "switching" | "done" | "failed" | "cancelled";

export interface Reembedding {
  readonly jobId: string;
  readonly modelId: string;
  readonly vectorDimension: number;
  /** The metadata field that holds a row's text. */
  readonly textField: string;
  /** A row without a text that the model can embed: the job fails, or the row is left behind at the switch. */
  readonly onMissing: "fail" | "drop";
  readonly state: ReembeddingState;
  /** Generation of the new rows' shards. */
  readonly target: number;
  /** Rows to be made, when it was last counted. */
  readonly rows: number;
  readonly embedded: number;
  readonly missing: number;
  /** Why it failed, or what it waits for. */
  readonly message: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
}

export function isOpen(job: Reembedding | undefined): job is Reembedding {
  return job?.state === "running" || job?.state === "switching";
}

/** Of this row, the same version: a row that was deleted and stored again has another beginning. */
export function isSame(a: VectorStamp, b: VectorStamp): boolean {
  return a.version === b.version && a.createdMs === b.createdMs && a.updatedMs === b.updatedMs;
}

export interface PagePlan {
  /** Ids to be made, and those of them of which an older version is there. */
  readonly wanted: readonly string[];
  readonly outdated: readonly string[];
}

/** @param targets what the new rows have for each of the old ones */
export function planOf(sources: readonly VectorShown[], targets: readonly (VectorShown | null)[]): PagePlan {
  const changed = sources.filter(({ stamp }, at) => !targets[at] || !isSame(targets[at].stamp, stamp));
  const held = new Set(targets.flatMap((target) => (target ? [target.id] : [])));
  const wanted = changed.map(({ id }) => id);
  return { wanted, outdated: wanted.filter((id) => held.has(id)) };
}

/** The text of a row; undefined = it has none. */
export function textOf(metadata: Uint8Array | undefined, field: string): string | undefined {
  if (!metadata || metadata.length === 0) return undefined;
  const value: unknown = (JSON.parse(new TextDecoder().decode(metadata)) as Readonly<Record<string, unknown>>)[field];
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

interface NamedModel {
  readonly modelId?: string | undefined;
  readonly name?: string | undefined;
  readonly inputType?: string | undefined;
}

/** The database's models once the new one makes its texts' vectors. */
export function modelsAfter(models: readonly object[], modelId: string): readonly object[] {
  const others = (models as readonly NamedModel[]).filter(
    ({ inputType }) => inputType !== undefined && inputType !== "text",
  );
  return [{ modelId, name: modelId }, ...others];
}
