// What the watched databases of vectors must hold, from the writes that were answered with success; a read or a listing that shows
// anything else is a problem. Values and metadata are modelled apart: a change may bring one of them.
import { parsedBody } from "./judge.ts";
import type { TenantModel, Write } from "./model.ts";
import type { FuzzRequest } from "./requests.ts";
import { DIMENSION, WATCHED_DATABASE } from "./vector-aim.ts";
import type { World } from "./world.ts";

type Json = Record<string, unknown>;

/** The databases whose vectors are watched, of one kind for each tenant. */
export async function createDatabases(url: string, tokens: readonly string[]): Promise<void> {
  for (const [i, token] of tokens.entries()) {
    const kind = [
      { metric: "cosine", indexType: "HNSW" },
      { metric: "euclidean", indexType: "IVF" },
    ][i % 2];
    const body = { ...kind, databaseId: WATCHED_DATABASE, vectorDimension: DIMENSION, sharding: { numShards: 2 } };
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await fetch(`${url}/v1/databases`, { method: "POST", headers, body: JSON.stringify(body) });
    if (answer.status !== 201) throw new Error(`the database ${WATCHED_DATABASE}: ${await answer.text()}`);
  }
}

export interface VectorModels {
  readonly values: TenantModel;
  readonly metadata: TenantModel;
}

const floats = (values: unknown): unknown =>
  Array.isArray(values) ? values.map((value) => Math.fround(value)) : values;

interface Row {
  readonly id: string;
  readonly values?: unknown;
  readonly metadata?: unknown;
}

function wrote(models: VectorModels, row: Row, { isWhole, isVague }: { isWhole: boolean; isVague: boolean }): void {
  const write = (value: unknown): Write => ({ key: row.id, value, isDelete: false, isVague });
  if (isWhole || row.values !== undefined) models.values.wrote(write(floats(row.values)));
  // One that is stored anew without metadata has none.
  if (isWhole || row.metadata !== undefined) models.metadata.wrote(write(row.metadata ?? {}));
}

function erased(models: VectorModels, id: string, isVague: boolean): void {
  for (const model of [models.values, models.metadata])
    model.wrote({ key: id, value: undefined, isDelete: true, isVague });
}

/** Against all rows of a watched database. */
export function problemsOfRows(models: VectorModels, rows: readonly Row[]): string[] {
  const values = new Map(rows.map(({ id, values }) => [id, floats(values)]));
  const metadata = new Map(rows.map(({ id, metadata }) => [id, metadata ?? {}]));
  return [...models.values.problemsOfExport(values), ...models.metadata.problemsOfExport(metadata)];
}

function problemOfRow(models: VectorModels, id: string, row: Row | undefined): string | undefined {
  return (
    models.values.problemOfRead(id, row && { value: floats(row.values) }) ??
    models.metadata.problemOfRead(id, row && { value: row.metadata ?? {} })
  );
}

const ofWatched = (path: string | undefined): boolean =>
  path?.startsWith(`/v1/databases/${WATCHED_DATABASE}/vectors`) === true;

/**
 * Feeds the models; gives what is wrong. `routed`: the path that the server saw. `status` 0 = no answer: it may have been done, and
 * what it was is vague from then on.
 */
export function applyVectors(
  models: VectorModels,
  {
    request,
    routed,
    status,
    body,
  }: { request: FuzzRequest; routed: string | undefined; status: number; body: Uint8Array },
): string | undefined {
  const { method, transport, target } = request;
  if (!ofWatched(routed) || transport.startsWith("cut") || /[?&]namespace=(?!default(&|$))/.test(target))
    return undefined;
  const mayBe = status === 0 || status >= 500;
  const isVague = request.isVague || mayBe;
  const ofOne = /\/vectors\/([^/]+)$/.exec(routed!)?.[1];
  const { data } = (parsedBody(body) ?? {}) as { readonly data?: Json };
  if (method === "GET") {
    if (!ofOne || ofOne === "count" || (status !== 200 && status !== 404)) return undefined;
    return problemOfRow(models, decodeURIComponent(ofOne), status === 200 ? (data as unknown as Row) : undefined);
  }
  if (status >= 300 || (status > 0 && status < 200)) return undefined;
  if (method === "DELETE" && ofOne) return void erased(models, decodeURIComponent(ofOne), isVague);
  const json = (request.body && parsedBody(request.body)) as Json | undefined;
  if (method === "PUT" && ofOne)
    return void wrote(
      models,
      { ...(json as unknown as Row), id: decodeURIComponent(ofOne) },
      { isWhole: false, isVague },
    );
  if (method !== "POST") return undefined;
  if (routed!.endsWith("/vectors/delete")) {
    const refused = (data?.["refused"] as readonly { readonly ids?: readonly string[] }[] | undefined) ?? [];
    const kept = new Set(refused.flatMap(({ ids = [] }) => ids));
    for (const id of (json?.["ids"] as string[] | undefined) ?? []) if (!kept.has(id)) erased(models, id, isVague);
    return undefined;
  }
  if (routed!.endsWith("/vectors")) {
    const id = String(data?.["id"] ?? json?.["id"]);
    return void wrote(models, { ...(json as unknown as Row), id }, { isWhole: true, isVague });
  }
  return routed!.endsWith("/vectors/batch") ? applyBatch(models, { request, data, isVague, mayBe }) : undefined;
}

interface Batch {
  readonly request: FuzzRequest;
  readonly data: Json | undefined;
  readonly isVague: boolean;
  readonly mayBe: boolean;
}

function applyBatch(models: VectorModels, { request, data, isVague, mayBe }: Batch): string | undefined {
  const items = itemsOf(request);
  const results = (data?.["results"] as readonly Json[] | undefined) ?? [];
  if (!mayBe && results.length !== items.length) return `${items.length} vectors, ${results.length} results`;
  const ids = items.map((item, i) => String(results[i]?.["id"] ?? item.id));
  for (const [i, item] of items.entries()) {
    if (results[i]?.["error"] !== undefined) continue;
    // The same id twice: which of them is the later is the shard's to say.
    const isTwice = ids.indexOf(ids[i]!) !== ids.lastIndexOf(ids[i]!);
    wrote(models, { ...item, id: ids[i]! }, { isWhole: true, isVague: isVague || isTwice });
  }
  return undefined;
}

/** The rows of a batch as the server reads them, in their order. */
function itemsOf({ headers, body = new Uint8Array() }: FuzzRequest): readonly Row[] {
  const type = headers.find(([name]) => name === "Content-Type")?.[1] ?? "";
  if (type === "application/x-ndjson") {
    const lines: readonly string[] = Buffer.from(body).toString("utf8").split("\n");
    return lines.filter((line) => line.trim() !== "").map((line) => parsedBody(Buffer.from(line)) as Row);
  }
  if (type !== "application/octet-stream") return (parsedBody(body) as { vectors?: Row[] } | undefined)?.vectors ?? [];
  return binaryRows(Buffer.from(body));
}

function binaryRows(bytes: Buffer): readonly Row[] {
  const [form, count, dimension] = [bytes[4]!, bytes.readUInt32LE(8), bytes.readUInt32LE(12)];
  const size = [4, 2, 1][form]!;
  let at = 20 + count * dimension * size;
  return Array.from({ length: count }, (_, row) => {
    const from = 20 + row * dimension * 4;
    // Other forms come about by a flipped byte only, and never with the right length.
    const values = Array.from({ length: dimension }, (_, i) => bytes.readFloatLE(from + i * 4));
    const id = bytes.toString("utf8", at + 2, at + 2 + bytes.readUInt16LE(at));
    at += 2 + bytes.readUInt16LE(at);
    const text = bytes.toString("utf8", at + 4, at + 4 + bytes.readUInt32LE(at));
    at += 4 + bytes.readUInt32LE(at);
    return { id, values, ...(text ? { metadata: parsedBody(Buffer.from(text)) } : {}) };
  });
}

/** Every row of a tenant's watched database. */
export async function rowsOf(world: World, token: string): Promise<Row[]> {
  const rows: Row[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const query: string = `limit=1000&includeValues=true&includeMetadata=true${cursor ? `&cursor=${cursor}` : ""}`;
    const path = `/v1/databases/${WATCHED_DATABASE}/vectors?${query}`;
    const response = await fetch(`${world.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text.slice(0, 300)}`);
    const { data } = JSON.parse(text) as { data: { items: Row[]; cursor: string | null } };
    rows.push(...data.items);
    cursor = data.cursor;
  }
  return rows;
}
