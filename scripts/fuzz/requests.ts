// From the OpenAPI document to requests: a route, a caller, fields that its schemas allow, then what is wrong with them.
// Guarantees: request n of a seed is the same in every run, so that one can be sent alone (`--only n`).
import fc from "fast-check";
import { aimConfig, aimConfigQuery, CONFIG_KEYS, LEASES, LOCKS } from "./config-aim.ts";
import type { Operation } from "./document.ts";
import { isEtcd } from "./etcd-aim.ts";
import { bodyBytes, EVIL_TEXTS, evilText } from "./mutate.ts";
import { Choices } from "./random.ts";
import { aimVectorQuery, aimVectors, databaseFor, isVectorPath, otherForm, WATCHED_DATABASE } from "./vector-aim.ts";
import { authorization, type Credential, named, VICTIMS, WATCHED, type World } from "./world.ts";

/** How the bytes travel. `cut`: the client ends before the announced length. */
export type Transport = "plain" | "chunked" | "cut" | "cutChunked" | "broken";

export interface FuzzRequest {
  readonly number: number;
  readonly operation: Operation | undefined;
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array | undefined;
  readonly transport: Transport;
  readonly credential: Credential;
  /** The Authorization header is one that the server must know. */
  readonly isKnownCaller: boolean;
  /** Its writes may be repetitions, concurrent, or below a majority: what is read afterwards is not determined. */
  readonly isVague: boolean;
}

export const LANES = 32;
const CHUNK = 200;
/** After so many requests of a lane its keys are new ones: a key that became vague does not stay one of the lane's keys. */
const KEYS_CHANGE_AFTER = 400;
const KEYS_OF_LANE = 6;

const WEIGHTS: Readonly<Record<string, number>> = {
  "POST /v1/key-value": 320,
  "GET /v1/key-value": 220,
  "DELETE /v1/key-value": 90,
  "POST /v1/key-value/batch": 90,
  "GET /v1/key-value/export": 20,
  "POST /v1/tenants": 6,
  "DELETE /v1/tenants/{id}": 3,
  "PATCH /v1/tenants/{id}": 25,
  "POST /v1/repairs": 2,
  "GET /metrics": 3,
  "PUT /v1/config/keys/{key}": 60,
  "GET /v1/config/keys/{key}": 40,
  "DELETE /v1/config/keys/{key}": 20,
  "GET /v1/config/range": 40,
  "POST /v1/config/txn": 60,
  "POST /v1/config/compact": 4,
  "DELETE /v1/config/namespaces": 4,
  "POST /v1/databases": 6,
  "DELETE /v1/databases/{db}": 2,
  "POST /v1/databases/{db}/vectors": 60,
  "POST /v1/databases/{db}/vectors/batch": 60,
  "POST /v1/databases/{db}/vectors/delete": 20,
  "GET /v1/databases/{db}/vectors/{id}": 60,
  "PUT /v1/databases/{db}/vectors/{id}": 40,
  "DELETE /v1/databases/{db}/vectors/{id}": 20,
  "POST /v1/databases/{db}/search": 50,
  "POST /v3/kv/put": 30,
  "POST /v3/kv/range": 20,
  "POST /v3/kv/txn": 40,
};
const OTHER_WEIGHT = 14;
/** There are many paths, and most of them refuse everything. */
const OTHER_ETCD_WEIGHT = 3;

interface Drawn {
  readonly operation: Operation;
  readonly json: unknown;
  readonly query: Readonly<Record<string, unknown>>;
  readonly seed: number;
}

function drawnFrom(operations: readonly Operation[]): fc.Arbitrary<Drawn> {
  return fc.oneof(
    ...operations.map((operation) => ({
      weight:
        WEIGHTS[`${operation.method} ${operation.path}`] ?? (isEtcd(operation) ? OTHER_ETCD_WEIGHT : OTHER_WEIGHT),
      arbitrary: fc.record({
        operation: fc.constant(operation),
        json: operation.body ?? fc.constant(undefined),
        query: operation.queryValues,
        seed: fc.noBias(fc.integer({ min: 0, max: 2 ** 32 - 1 })),
      }),
    })),
  );
}

type Json = Record<string, unknown>;

/** The names that lane `number % LANES` writes at that point of the run. Others' keys never look like these. */
function laneKey(number: number, choices: Choices): string {
  const epoch = Math.floor(number / (LANES * KEYS_CHANGE_AFTER));
  const suffix = choices.chance(0.9) ? "" : choices.pick(["é", "😀", " ", "%2F", "\u0000", "&=+", '"\\']);
  return `lane${number % LANES}.${epoch}.${choices.below(KEYS_OF_LANE)}${suffix}`;
}

function namesOf(json: Json, drawn: Json | undefined, choices: Choices, number: number): void {
  if (!choices.chance(0.92)) return;
  json["key"] = laneKey(number, choices);
  // Values that no other request has: what is found later can be told apart.
  if (drawn && "value" in drawn && choices.chance(0.7)) json["value"] = { n: number, v: drawn["value"] };
  if (choices.chance(0.9)) delete json["vectorClock"];
  if (json["consistency"] === "one" && choices.chance(0.7)) delete json["consistency"];
}

/** Puts what the world has in places where the schema only says "string". */
function aimed({ operation, json }: Drawn, target: string, choices: Choices, number: number): unknown {
  if (typeof json !== "object" || json === null) return json;
  const body: Json = { ...json };
  if (operation.path === "/v1/key-value") namesOf(body, body, choices, number);
  if (Array.isArray(body["operations"])) {
    body["operations"] = body["operations"].map((item: Json) => {
      const one = { ...item };
      namesOf(one, item, choices, number);
      return one;
    });
    if (choices.chance(0.8)) delete body["consistency"];
  }
  if (operation.path.startsWith("/v1/config")) aimConfig(body, choices);
  if (isVectorPath(operation.path)) {
    const isWatched = target.includes(`/v1/databases/${WATCHED_DATABASE}`);
    aimVectors(body, choices, { ...operation, isWatched, nextId: () => laneKey(number, choices) });
  }
  if (operation.path.startsWith("/v1/tenants")) {
    if ("tenantId" in body && choices.chance(0.97)) body["tenantId"] = choices.pick(VICTIMS);
    // Rate limits of victims do not matter; copies of them would only cost time.
    if ("replicationFactor" in body && choices.chance(0.9)) body["replicationFactor"] = 1 + choices.below(4);
  }
  return body;
}

function queryText(drawn: Drawn, choices: Choices, number: number): string {
  const fields = { ...drawn.query };
  const hasQuery = drawn.operation.query.length > 0;
  if (drawn.operation.path.startsWith("/v1/config")) aimConfigQuery(fields, drawn.operation.path, choices);
  if (isVectorPath(drawn.operation.path)) aimVectorQuery(fields, choices);
  if (!hasQuery && choices.chance(0.97)) return "";
  if (drawn.operation.path === "/v1/key-value" && hasQuery) {
    namesOf(fields, undefined, choices, number);
    if (fields["vectorClock"] !== undefined) fields["vectorClock"] = JSON.stringify(fields["vectorClock"]);
  }
  if ("cursor" in fields && choices.chance(0.5)) delete fields["cursor"];
  const parts = Object.entries(fields).map(([name, value]) => {
    const text = choices.chance(0.93) ? String(value) : choices.pick(EVIL_TEXTS);
    return [name, encodeURIComponent(text.toWellFormed())] as [string, string];
  });
  if (choices.chance(0.12)) {
    choices.weighted<() => unknown>([
      [20, () => parts.push(["limit", choices.pick(["0", "-1", "1e2", "1001", "999999999999999999", "0x10", " 1"])])],
      [15, () => parts.push([choices.pick(["__proto__", "x", "", "KEY", "%ff"]), "1"])],
      [15, () => parts.length && parts.push([...parts[0]!])],
      [15, () => parts.pop()],
      [10, () => parts.push(["key", choices.pick(["%", "%ff", "%ed%a0%80", "%00", "%C0%80", "+", "a%2"])])],
      [
        10,
        () => parts.push(["cursor", choices.pick(["!", "AAAA", "MTo", "MTp4", "AAAAAAAAAAABYQ", "_".repeat(2001)])]),
      ],
      [15, () => parts.push(["vectorClock", encodeURIComponent(evilText(choices)).slice(0, 4000)])],
    ])();
  }
  return parts.length === 0 ? "" : `?${parts.map(([name, value]) => `${name}=${value}`).join("&")}`;
}

const ODD_PATHS = [
  ..."/ // /v1 /v1/ /v2/key-value /v1/key-value/ /v1//key-value /v1/%6bey-value /v1/key-value%00 /v1/nothing /favicon.ico".split(
    " ",
  ),
  ..."/v1/openapi.json /v1/tenants/../key-value /api/v1 /api/v1x /api/api/v1/health /v1/tenants/%ff /v1/tenants/%2e%2e/keys".split(
    " ",
  ),
  ...["/v1/tenants/a%2Fb", "/v1/repairs/-1", "/v1/repairs/1e3", `/v1/${"x".repeat(4000)}`, "*", "/v1/key-value#x"],
];

/** Administrators may change what nobody watches; whoever else tries is aimed at what is watched. */
function idFor(drawn: Drawn, { credential, method, choices }: Aim): string {
  if (drawn.operation.path.startsWith("/v1/repairs")) return choices.pick(["1", "2", "0", "999999999999999", "x"]);
  const isHarmless = method === "GET" || !["root", "admin"].includes(credential.scope);
  const others = isHarmless
    ? WATCHED
    : WATCHED.filter((id) => credential.scope === "admin" && id !== credential.tenant);
  return choices.chance(0.6)
    ? choices.pick(VICTIMS)
    : choices.pick([...others, "nobody", "A", "-", "a.b", "%20", "a%00"]);
}

interface Aim {
  readonly number: number;
  readonly credential: Credential;
  readonly method: string;
  readonly choices: Choices;
}

function pathFor(drawn: Drawn, aim: Aim): string {
  const { choices } = aim;
  if (choices.chance(0.02)) return choices.pick(ODD_PATHS);
  const isVector = isVectorPath(drawn.operation.path);
  const id = () => (isVector ? encodeURIComponent(laneKey(aim.number, choices)) : idFor(drawn, aim));
  const isConfig = drawn.operation.path.startsWith("/v1/config");
  const keys = isConfig ? CONFIG_KEYS : ["0123456789abcdef", "0000000000000000", "x", "%00", "0123456789ABCDEF"];
  const path = drawn.operation.path
    .replace("{id}", id)
    .replace("{db}", () => databaseFor(drawn.operation.path, choices))
    .replace("{name}", () => choices.pick(LOCKS))
    .replace("{key}", () => encodeURI(choices.pick(keys)).replaceAll("%25", "%"))
    .replace("{lease}", () => choices.pick(LEASES));
  if (isEtcd(drawn.operation)) return choices.chance(0.1) ? path.replace("/v3/", "/v3beta/") : path;
  return choices.chance(0.1) ? `/api${path}` : path;
}

const HEADERS: readonly (readonly [string, readonly string[]])[] = [
  [
    "Idempotency-Key",
    ["a", "b", "\x7f", "x y", "k".repeat(255), "k".repeat(256), "0123456789abcdef0123456789abcdef", "é"],
  ],
  ["Jade-Attempt", ["1", "2", "0", "-1", "10000", "1e1", "x"]],
  ["traceparent", ["00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "00-0-0-0", "ff-x", "00-é"]],
  ["X-Request-Id", ["abc", "x".repeat(129), '"><', "a\tb"]],
  ["Accept", ["text/html", "*/*", "application/x-ndjson"]],
  ["Accept-Encoding", ["gzip", "br, gzip", "identity;q=0"]],
  ["Content-Encoding", ["gzip", "identity", "nonsense"]],
  ["Expect", ["200-maybe"]],
  ["Range", ["bytes=0-1"]],
  ["If-None-Match", ["*"]],
  ["Cookie", ["a=b"]],
  ["X-Odd", ["é", "\t", "a".repeat(6000), ""]],
  ["jade-caller", ['{"tenant":1}']],
  ["Host", ["[::1", "a b", "", "127.0.0.1:99999", "%", "x".repeat(300), "user@host", "é"]],
  ["Upgrade", ["websocket", "h2c"]],
  ["Sec-WebSocket-Key", ["AQIDBAUGBwgJCgsMDQ4PEA=="]],
  ["Sec-WebSocket-Protocol", ["jade.v1", "jade.bearer.", "jade.bearer.!!", ", ,"]],
];

const CONTENT_TYPES = [
  "text/plain",
  "",
  "application/json; charset=latin1",
  "application/x-ndjson",
  "multipart/form-data",
];

function headersFor(choices: Choices, isJson: boolean): [string, string][] {
  const headers: [string, string][] = [];
  if (isJson && !choices.chance(0.01)) {
    const odd = choices.chance(0.03);
    headers.push(["Content-Type", odd ? choices.pick(CONTENT_TYPES) : "application/json"]);
  }
  for (let more = choices.chance(0.15) ? 1 + choices.below(3) : 0; more > 0; more--) {
    const [name, values] = choices.pick(HEADERS);
    headers.push([name, choices.pick(values)]);
  }
  return headers;
}

const METHODS = ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "GET", "POST", "TRACE", "BREW", "get"];

export class Requests {
  readonly #operations: readonly Operation[];
  readonly #arbitrary: fc.Arbitrary<Drawn>;
  readonly #world: World;
  readonly #seed: number;
  #chunk: { readonly index: number; readonly drawn: readonly Drawn[] } | undefined;

  constructor(options: { operations: readonly Operation[]; world: World; seed: number }) {
    this.#operations = options.operations;
    this.#arbitrary = drawnFrom(options.operations);
    this.#world = options.world;
    this.#seed = options.seed;
  }

  #drawn(number: number): Drawn {
    const index = Math.floor(number / CHUNK);
    if (this.#chunk?.index !== index) {
      const seed = (this.#seed * 1_000_003 + index) | 0;
      this.#chunk = { index, drawn: fc.sample(this.#arbitrary, { seed, numRuns: CHUNK }) };
    }
    return this.#chunk!.drawn[number % CHUNK]!;
  }

  #caller({ operation }: Drawn, choices: Choices): Credential {
    const { credentials } = this.#world;
    if (choices.chance(0.08)) return choices.pick(credentials);
    const isData = /^\/(v1\/(key-value|config|session|databases)|v3)/.test(operation.path);
    // Databases are made and ended by administrators.
    const writers = /^\/v1\/databases(\/\{db\})?$/.test(operation.path) ? 0.3 : 0.9;
    if (isData)
      return named(this.#world, `${choices.pick(WATCHED)}.${choices.chance(writers) ? "read-write" : "admin"}`);
    return named(this.#world, choices.chance(0.85) ? "root" : `${choices.pick(WATCHED)}.admin`);
  }

  make(number: number): FuzzRequest {
    const drawn = this.#drawn(number);
    const choices = new Choices(drawn.seed ^ Math.imul(number, 0x9e3779b1));
    const credential = this.#caller(drawn, choices);
    const method = choices.chance(0.02) ? choices.pick(METHODS) : drawn.operation.method;
    const target = pathFor(drawn, { number, credential, method, choices }) + queryText(drawn, choices, number);
    const json = aimed(drawn, target, choices, number);
    const hasBody = json !== undefined || choices.chance(0.02);
    const hasOtherForm = drawn.operation.path.endsWith("/vectors/batch") && choices.chance(0.35);
    const other = hasOtherForm ? otherForm(json, choices) : undefined;
    const body = hasBody ? (other?.body ?? bodyBytes(json ?? {}, choices)) : undefined;
    const headers = headersFor(choices, body !== undefined && !other);
    if (other) headers.push(["Content-Type", other.type]);
    const sent = authorization(credential, choices);
    if (sent) headers.push(["Authorization", sent.text]);
    const transport = choices.weighted<Transport>([
      [940, "plain"],
      [40, "chunked"],
      [8, body ? "cut" : "plain"],
      [6, body ? "cutChunked" : "plain"],
      [6, "broken"],
    ]);
    const routed = method === "HEAD" ? "GET" : method;
    const { path } = drawn.operation;
    const operation = this.#operations.find((one) => one.path === path && one.method === routed);
    const isVague = headers.some(([name]) => name === "Idempotency-Key" || name === "Jade-Attempt");
    const isKnownCaller = credential.scope !== "none" && sent?.isSane === true;
    return { number, operation, method, target, headers, body, transport, credential, isKnownCaller, isVague };
  }
}

const BROKEN = [
  "GET /v1/health\r\n\r\n",
  "GET  /v1/health HTTP/1.1\r\n\r\n",
  "POST /v1/key-value HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
  "POST /v1/key-value HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
  "POST /v1/key-value HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  "POST /v1/key-value HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
  "GET /v1/health HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
  "GET /v1/health HTTP/9.9\r\nHost: a\r\n\r\n",
  "GET http://[/v1/health HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET http://other/v1/health HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /v1/health HTTP/1.0\r\n\r\n",
  "GET /v1/health HTTP/1.1\r\n\r\n",
  "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
  "\x16\x03\x01\x00\x00",
  `GET /${"x".repeat(100_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
  `GET / HTTP/1.1\r\n${"X: y\r\n".repeat(20_000)}\r\n`,
];

export function isConnect({ transport, number }: FuzzRequest): boolean {
  return transport === "broken" && BROKEN[number % BROKEN.length]!.startsWith("CONNECT");
}

/** The target leads to the route that the request was made for. */
export function isRouted(request: FuzzRequest): boolean {
  // A configuration key takes the rest of the path.
  const pattern = request.operation?.path
    .replace("config/keys/{key}", "config/keys/.+")
    .replace(/\{[a-z]+\}/g, "[^/]+");
  return pattern !== undefined && new RegExp(`^${pattern}$`).test(routedPath(request) ?? "");
}

/** The path that a server routes by, without `/api`; undefined = the target is no path. */
export function routedPath({ target, transport }: FuzzRequest): string | undefined {
  if (transport === "broken" || !target.startsWith("/")) return undefined;
  try {
    return new URL(`http://host${target}`).pathname.replace(/^\/api(?=\/v1(\/|$))/, "");
  } catch {
    return undefined; // no URL
  }
}

/** What goes over the wire. A `broken` request is not HTTP, or nearly so. */
export function wireBytes({ number, method, target, headers, body, transport }: FuzzRequest): Uint8Array {
  if (transport === "broken") return Buffer.from(BROKEN[number % BROKEN.length]!, "latin1");
  const lines = [`${method} ${target} HTTP/1.1`];
  if (!headers.some(([name]) => name === "Host")) lines.push("Host: 127.0.0.1");
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  const isChunked = transport === "chunked" || transport === "cutChunked";
  const length = (body?.length ?? 0) + (transport === "cut" ? 1 + (number % 100) : 0);
  if (body && isChunked) lines.push("Transfer-Encoding: chunked");
  else if (body || method === "POST" || method === "PUT") lines.push(`Content-Length: ${length}`);
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "utf8");
  if (!body) return head;
  if (!isChunked) return Buffer.concat([head, body]);
  const half = body.length >> 1;
  const parts = [body.subarray(0, half), body.subarray(half)].filter((part) => part.length > 0);
  const chunks = parts.map((part) =>
    Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]),
  );
  const end = transport === "chunked" ? ["0\r\n\r\n"] : number % 2 === 0 ? [] : ["7f\r\nabc"];
  return Buffer.concat([head, ...chunks, ...end.map((text) => Buffer.from(text))]);
}

function quoted(text: string): string {
  return `$'${text.replaceAll(/[\\']/g, "\\$&").replaceAll(/[^\x20-\x7e]/g, (c) => {
    return [...Buffer.from(c, "utf8")].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  })}'`;
}

/** A line for a shell; bodies that are no text go through base64. */
export function asCurl(url: string, request: FuzzRequest): string {
  const { method, target, headers, body, transport } = request;
  if (transport === "broken" || transport.startsWith("cut")) {
    const { host } = new URL(url);
    const base64 = Buffer.from(wireBytes(request)).toString("base64");
    return `printf %s '${base64.slice(0, 20_000)}' | base64 -d | nc -q 1 ${host.replace(":", " ")}`;
  }
  const parts = [`curl -sS --path-as-is -X ${quoted(method)} ${quoted(url + (target === "*" ? "/*" : target))}`];
  for (const [name, value] of headers) parts.push(`-H ${quoted(`${name}: ${value.slice(0, 500)}`)}`);
  if (transport === "chunked") parts.push("-H 'Transfer-Encoding: chunked'");
  if (!body) return parts.join(" ");
  const base64 = Buffer.from(body).toString("base64");
  return `printf %s '${base64.slice(0, 20_000)}' | base64 -d | ${parts.join(" ")} --data-binary @-`;
}
