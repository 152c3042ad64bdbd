// Requests to /v1/databases made likely to get somewhere. Each watched tenant has one database that nobody who may changes as a whole:
// there each lane writes ids of its own. Must not: make them always right.
import type { Choices } from "./random.ts";

type Json = Record<string, unknown>;

export const DIMENSION = 4;
export const WATCHED_DATABASE = "watched";
/** Few: each shard is an object of its own. */
const WILD = ["va", "vb", "vc"];
const BATCH = "/v1/databases/{db}/vectors/batch";
const ONE = "/v1/databases/{db}/vectors/{id}";
const NUMBERS = [0, 1, -1, 0.5, 3.25, 1e-3, 1e30, 16777217, -0];

export const isVectorPath = (path: string): boolean => path.startsWith("/v1/databases");

/** A watched database is written and read, and changed or deleted by nobody who may. */
export function databaseFor(path: string, choices: Choices): string {
  const ofVectors = /\/\{db\}\/(vectors|search)/.test(path);
  if (choices.chance(0.03)) return choices.pick(["none", "a%2Fb", "%00", "-a", "d".repeat(200)]);
  return ofVectors && choices.chance(0.75) ? WATCHED_DATABASE : choices.pick(WILD);
}

const valuesFor = (choices: Choices): number[] =>
  Array.from({ length: choices.chance(0.95) ? DIMENSION : choices.below(7) }, () => choices.pick(NUMBERS));

function aimOne(fields: Json, choices: Choices, id: string): void {
  if (("values" in fields || choices.chance(0.9)) && choices.chance(0.97)) fields["values"] = valuesFor(choices);
  if (choices.chance(0.95)) fields["id"] = id;
  if ("metadata" in fields && choices.chance(0.9))
    fields["metadata"] = { lane: id, n: choices.below(9), tags: choices.pick([[], ["a"], ["a", "b"]]), deep: { x: 1 } };
}

function filtersFor(choices: Choices): unknown {
  return choices.pick<unknown>([
    { n: choices.below(9) },
    { n: { $gte: choices.below(9) } },
    { tags: { $in: ["a", 1, null] } },
    { $or: [{ n: 1 }, { "deep.x": { $ne: 1 } }] },
    { $not: { tags: { $exists: false } } },
    { n: { $none: 1 } },
    { lane: { $prefix: "lane" } },
  ]);
}

export function aimVectorQuery(fields: Json, choices: Choices): void {
  if ("namespace" in fields && choices.chance(0.97)) delete fields["namespace"];
  if ("filters" in fields && choices.chance(0.9)) fields["filters"] = JSON.stringify(filtersFor(choices));
}

export interface Aimed {
  readonly path: string;
  readonly method: string;
  readonly isWatched: boolean;
  /** An id that no other lane writes. */
  readonly nextId: () => string;
}

export function aimVectors(body: Json, choices: Choices, { path, method, isWatched, nextId }: Aimed): void {
  if ("filters" in body) {
    if (path.endsWith("/vectors/delete") && isWatched) delete body["filters"];
    else if (choices.chance(0.9)) body["filters"] = filtersFor(choices);
  }
  if ("ids" in body || (path.endsWith("/vectors/delete") && isWatched))
    body["ids"] = Array.from({ length: 1 + choices.below(3) }, nextId);
  if (path === "/v1/databases" && choices.chance(0.995)) body["databaseId"] = choices.pick(WILD);
  if ("vectorDimension" in body && choices.chance(0.95)) body["vectorDimension"] = DIMENSION;
  if ("sharding" in body && choices.chance(0.97)) body["sharding"] = { numShards: 1 + choices.below(3) };
  if (path === BATCH) {
    body["vectors"] = Array.from({ length: 1 + choices.below(6) }, () => {
      const item: Json = choices.chance(0.5) ? { metadata: {} } : {};
      aimOne(item, choices, nextId());
      return choices.chance(0.03) ? choices.pick<unknown>([null, 7, [], "x", {}]) : item;
    });
    if (choices.chance(0.8)) delete body["atomic"];
  } else if (path.endsWith("/vectors") && method === "POST") aimOne(body, choices, nextId());
  else if (path === ONE) {
    if ("values" in body && choices.chance(0.95)) body["values"] = valuesFor(choices);
    if ("metadata" in body && choices.chance(0.9)) body["metadata"] = { n: choices.below(9), other: nextId() };
    delete body["id"];
  }
  for (const query of [body, ...((body["queries"] as Json[] | undefined) ?? [])]) {
    if (!path.includes("/search") || choices.chance(0.05)) continue;
    const hasId = choices.chance(0.2);
    if (query !== body || !("queries" in body)) {
      if (hasId) query["id"] = nextId();
      else query["queryVector"] = valuesFor(choices);
      delete query[hasId ? "queryVector" : "id"];
    }
    for (const name of ["topK", "ef", "probes", "rerank"])
      if (name in query && choices.chance(0.95)) query[name] = 1 + choices.below(50);
    if ("index" in query && choices.chance(0.8)) delete query["index"];
    if ("databaseId" in query && choices.chance(0.9)) delete query["databaseId"];
  }
}

/** A batch in one of its other forms, with the content type that says so. */
export function otherForm(json: unknown, choices: Choices): { readonly type: string; readonly body: Uint8Array } {
  const items = (json as { vectors?: unknown[] }).vectors ?? [];
  if (choices.chance(0.6)) {
    const lines = items.map((item) => JSON.stringify(item)).join("\n");
    return { type: "application/x-ndjson", body: Buffer.from(choices.chance(0.85) ? lines : lines.slice(7)) };
  }
  const whole = items.filter((item): item is Json => Array.isArray((item as Json | null)?.["values"]));
  const head = Buffer.alloc(20);
  head.write("JVB1", "latin1");
  head.writeUInt32LE(whole.length, 8);
  head.writeUInt32LE(DIMENSION, 12);
  const values = whole.map(({ values }) =>
    Buffer.from(Float32Array.from({ length: DIMENSION }, (_, i) => (values as number[])[i] ?? 0).buffer),
  );
  const rows = whole.map(({ id = "", metadata }) => {
    const [name, text] = [Buffer.from(String(id)), Buffer.from(metadata ? JSON.stringify(metadata) : "")];
    const lengths = [Buffer.alloc(2), Buffer.alloc(4)] as const;
    lengths[0].writeUInt16LE(name.length);
    lengths[1].writeUInt32LE(text.length);
    return Buffer.concat([lengths[0], name, lengths[1], text]);
  });
  const bytes = Buffer.concat([head, ...values, ...rows]);
  if (choices.chance(0.5)) bytes[choices.below(bytes.length)] = choices.below(256);
  return { type: "application/octet-stream", body: bytes };
}
