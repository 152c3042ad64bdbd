// A fuzz run: requests in lanes over keep-alive connections, every answer judged, the watched tenants compared with the model now and
// then. Guarantees: what one lane writes no other lane writes, so that reads are judged too; a problem names request and seed.

import { type OpenApi, operationsOf } from "./document.ts";
import { applyAnswer } from "./effects.ts";
import { etcdOperations } from "./etcd-aim.ts";
import { type Outcome, RawConnection } from "./http.ts";
import { problemOf } from "./judge.ts";
import { TenantModel } from "./model.ts";
import { asCurl, type FuzzRequest, LANES, Requests, routedPath, wireBytes } from "./requests.ts";
import { applyVectors, createDatabases, problemsOfRows, rowsOf, type VectorModels } from "./vector-effects.ts";
import { administer, createWorld, named, WATCHED, type World } from "./world.ts";

const DEADLINE_MS = 10_000;
const EXPORT_PAGE = 1000;
/** A run that is broken altogether says so often enough. */
const MAX_PROBLEMS = 50;

export interface Problem {
  /** Undefined = found when the stored data was compared. */
  readonly number: number | undefined;
  readonly what: string;
  readonly curl: string;
}

export interface FuzzOptions {
  readonly server: { readonly url: string; readonly rootKey: string };
  readonly requests: number;
  readonly seed: number;
  /** Only this request. */
  readonly only?: number | undefined;
  /** The stored data is compared after so many requests, and at the end. */
  readonly compareEvery: number;
  readonly report: (line: string) => void;
}

export interface FuzzResult {
  readonly sent: number;
  readonly seconds: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly compared: number;
  readonly resent: number;
  readonly keys: number;
  readonly vectors: number;
  readonly problems: readonly Problem[];
}

export class FuzzRun {
  readonly #options: FuzzOptions;
  readonly #models = new Map<string, TenantModel>(WATCHED.map((id) => [id, new TenantModel()]));
  readonly #vectors = new Map<string, VectorModels>(
    WATCHED.map((id) => [id, { values: new TenantModel(), metadata: new TenantModel() }]),
  );
  readonly #problems: Problem[] = [];
  readonly #statuses: Record<string, number> = {};
  readonly #connections: RawConnection[];
  #world!: World;
  #requests!: Requests;
  #settings = "";
  #sent = 0;
  #compared = 0;

  constructor(options: FuzzOptions) {
    this.#options = options;
    const port = Number(new URL(options.server.url).port);
    this.#connections = Array.from({ length: LANES }, () => new RawConnection(port));
  }

  async run(): Promise<FuzzResult> {
    const { server, requests, seed, only, compareEvery, report } = this.#options;
    const document = (await (await fetch(`${server.url}/v1/openapi.json`)).json()) as OpenApi;
    this.#world = await createWorld(server);
    this.#settings = await this.#settingsOfWatched();
    await createDatabases(
      server.url,
      WATCHED.map((id) => named(this.#world, `${id}.admin`).token!),
    );
    const operations = [...operationsOf(document), ...etcdOperations()];
    this.#requests = new Requests({ operations, world: this.#world, seed });
    const started = performance.now();
    const seconds = (): number => (performance.now() - started) / 1000;
    if (only !== undefined) await this.#send(only % LANES, this.#requests.make(only));
    for (let from = 0; only === undefined && from < requests && !this.#isHopeless(); from += compareEvery) {
      const to = Math.min(requests, from + compareEvery);
      await this.#sendRange(from, to);
      await this.#compare();
      report(`${to} requests, ${Math.round(to / seconds())} a second, ${this.#problems.length} problems`);
    }
    if (only !== undefined) await this.#compare();
    for (const connection of this.#connections) connection.close();
    const keys = [...this.#models.values()].reduce((sum, model) => sum + model.size, 0);
    const vectors = [...this.#vectors.values()].reduce((sum, { values }) => sum + values.size, 0);
    const resent = this.#connections.reduce((sum, connection) => sum + connection.resent, 0);
    const counts = { sent: this.#sent, seconds: seconds(), statuses: this.#statuses, compared: this.#compared };
    return { ...counts, resent, keys, vectors, problems: this.#problems };
  }

  #isHopeless(): boolean {
    return this.#problems.length >= MAX_PROBLEMS;
  }

  /** Made in order, sent by lanes: request n goes to lane n % LANES. */
  async #sendRange(from: number, to: number): Promise<void> {
    for (let start = from; start < to && !this.#isHopeless(); start += 200 * LANES) {
      const batch: FuzzRequest[] = [];
      for (let n = start; n < Math.min(to, start + 200 * LANES); n++) batch.push(this.#requests.make(n));
      await Promise.all(
        this.#connections.map(async (_, lane) => {
          for (const request of batch) if (request.number % LANES === lane) await this.#send(lane, request);
        }),
      );
    }
  }

  async #send(lane: number, request: FuzzRequest): Promise<void> {
    this.#sent++;
    const { transport, method, headers } = request;
    const isUnusual =
      (transport !== "plain" && transport !== "chunked") || headers.some(([name]) => name === "Upgrade");
    const outcome = await this.#connections[lane]!.exchange({
      bytes: wireBytes(request),
      isHead: method === "HEAD" && transport !== "broken",
      halfClose: isUnusual && transport !== "plain",
      isLast: isUnusual,
      deadlineMs: DEADLINE_MS,
    });
    this.#count(outcome);
    const problem = problemOf(request, outcome) ?? this.#effect(request, outcome);
    if (problem) this.#note(request, problem);
  }

  #count(outcome: Outcome): void {
    const name = outcome.kind === "answer" ? String(outcome.answer.status) : outcome.kind;
    this.#statuses[name] = (this.#statuses[name] ?? 0) + 1;
  }

  #effect(request: FuzzRequest, outcome: Outcome): string | undefined {
    const model = this.#models.get(request.credential.tenant ?? "");
    if (!model || request.transport === "broken") return undefined;
    const isRead = request.operation?.method === "GET";
    if (outcome.kind !== "answer" && isRead) return undefined;
    // The platform's own refusals reached no gateway.
    if (outcome.kind === "answer" && !outcome.answer.headers.has("x-request-id")) return undefined;
    const answer = outcome.kind === "answer" ? outcome.answer : { status: 0, body: new Uint8Array() };
    const routed = routedPath(request);
    const vectors = this.#vectors.get(request.credential.tenant!)!;
    const problem = applyVectors(vectors, { request, routed, ...answer });
    // An odd path that leads elsewhere reads and writes nothing here.
    const isHere = answer.status === 0 || routed === request.operation?.path;
    return problem ?? (isHere ? applyAnswer(model, request, answer) : undefined);
  }

  #note(request: FuzzRequest | undefined, what: string): void {
    const { server, seed, report } = this.#options;
    const curl = request ? asCurl(server.url, request) : "";
    this.#problems.push({ number: request?.number, what, curl });
    const again = request ? `--seed ${seed} --only ${request.number}` : `--seed ${seed}`;
    report(`PROBLEM  ${what}\n  again: npm run fuzz -- ${again}\n  ${curl.slice(0, 3000)}`);
  }

  async #settingsOfWatched(): Promise<string> {
    const { url, rootKey } = this.#options.server;
    const parts: unknown[] = [];
    for (const id of WATCHED) {
      for (const path of [`/v1/tenants/${id}`, `/v1/tenants/${id}/keys`])
        parts.push(await administer({ url, rootKey }, { method: "GET", path }));
    }
    return JSON.stringify(parts);
  }

  async #compare(): Promise<void> {
    this.#compared++;
    const settings = await this.#settingsOfWatched();
    if (settings !== this.#settings)
      this.#note(undefined, `a watched tenant or its keys changed: ${this.#settings} → ${settings}`);
    this.#settings = settings;
    for (const [id, model] of this.#models) {
      for (const problem of model.problemsOfExport(await this.#exportOf(id)).slice(0, 10))
        this.#note(undefined, `${id}: ${problem}`);
      const rows = await rowsOf(this.#world, named(this.#world, `${id}.read-only`).token!);
      for (const problem of problemsOfRows(this.#vectors.get(id)!, rows).slice(0, 10))
        this.#note(undefined, `the vectors of ${id}: ${problem}`);
    }
  }

  async #exportOf(tenantId: string): Promise<Map<string, unknown>> {
    const rows = new Map<string, unknown>();
    const headers = { authorization: `Bearer ${named(this.#world, `${tenantId}.read-only`).token}` };
    for (let cursor: string | null = ""; cursor !== null; ) {
      const query: string = `limit=${EXPORT_PAGE}${cursor ? `&cursor=${cursor}` : ""}`;
      const response = await fetch(`${this.#options.server.url}/v1/key-value/export?${query}`, { headers });
      const text = await response.text();
      if (!response.ok) throw new Error(`export of ${tenantId}: ${response.status} ${text.slice(0, 300)}`);
      cursor = null;
      for (const line of text.split("\n").slice(0, -1)) {
        const row = JSON.parse(line) as { key?: string; value?: unknown; valueText?: string; cursor?: string | null };
        if (row.key === undefined) cursor = row.cursor ?? null;
        else rows.set(row.key, row.valueText === undefined ? row.value : JSON.parse(row.valueText));
      }
    }
    return rows;
  }
}
