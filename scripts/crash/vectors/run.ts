// kill -9 of the server while vectors are stored, changed and deleted under each durability: `npm run crash -- --vectors`.
// Guarantees: what is there after each restart is compared with all that was sent and acknowledged (history.ts); counts and searches agree
// with what is listed. Must not: print anything but a summary.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient, type Vectors } from "../../../src/client/index.ts";
import { seededRandom } from "../../lib/seeded.mjs";
import { type RunningServer, startServer } from "../../lib/server-process.mjs";
import { type Durability, LOSS_WINDOW_MS, VectorHistory } from "./history.ts";
import { KeptCrash } from "./kept.ts";

export interface VectorCrashOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly maxLoadMs: number;
  readonly report?: (line: string) => void;
}

export interface VectorCrashResult {
  acknowledged: number;
  kills: number;
  /** From the kill to a server that answers. */
  slowestStartMs: number;
  found: number;
  /** The oldest acknowledged write that was lost, by durability: always within its window. Ms before the kill. */
  oldestLossMs: Record<string, number>;
  /** What kept.ts did, over all rounds. */
  kept: object;
  readonly problems: string[];
}

const DIMENSION = 16;
const LANES = 3;
const IDS_PER_LANE = 6000;
const CHUNK = 150;
const DELETES = 0.15;
const MIN_LOAD_MS = 300;
/** Searches a round and database that must find what is listed. */
const SAMPLES = 5;
const DURABILITIES = Object.keys(LOSS_WINDOW_MS) as readonly Durability[];

/** The write's number is the first value, so that what is found tells which write it is. */
const valuesOf = (row: number, number: number): number[] =>
  Array.from({ length: DIMENSION }, (_, at) => (at === 0 ? number : at === 1 ? row : (row * (at + 3)) % 17));

export class VectorCrash {
  readonly #options: VectorCrashOptions;
  readonly #random: () => number;
  readonly #base = mkdtempSync(join(tmpdir(), "jade-vector-crash-"));
  readonly #histories = new Map<Durability, VectorHistory>(DURABILITIES.map((name) => [name, new VectorHistory(name)]));
  readonly result: VectorCrashResult = {
    ...{ acknowledged: 0, kills: 0, slowestStartMs: 0, found: 0, oldestLossMs: {}, kept: {}, problems: [] },
  };
  #server!: RunningServer;
  #apiKey = "";
  #lastNumber = 0;
  readonly #kept: KeptCrash;

  constructor(options: VectorCrashOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#kept = new KeptCrash(this.#random);
  }

  async run(): Promise<VectorCrashResult> {
    try {
      await this.#start();
      await this.#create();
      for (let round = 0; round < this.#options.rounds; round++) await this.#round(round);
      return this.result;
    } finally {
      await this.#server?.kill9().catch(() => undefined);
      if (this.result.problems.length === 0) rmSync(this.#base, { recursive: true, force: true });
      else this.#options.report?.(`the data directory stays: ${this.#base}`);
    }
  }

  async #start(): Promise<void> {
    const before = this.#server as RunningServer | undefined;
    const again = before ? { port: before.port, rootKey: before.rootKey } : {};
    const config = join(this.#base, "jade.yaml");
    // YAML takes JSON. Archives go there and back (kept.ts).
    if (!before) writeFileSync(config, JSON.stringify({ vectors: { archiveStore: "disk" } }));
    const args = ["--config", config, "--log-level", "error"];
    this.#server = await startServer({ dataDir: join(this.#base, "data"), ...again, args });
  }

  async #create(): Promise<void> {
    const admin = new JadeClient({ url: this.#server.url, apiKey: this.#server.rootKey });
    this.#apiKey = (await admin.tenants.create({ tenantId: "crash" })).apiKey;
    admin.close();
    const client = this.#client();
    for (const durability of DURABILITIES)
      await client.databases.create({
        ...{ databaseId: durability, durability, vectorDimension: DIMENSION, metric: "euclidean" },
        sharding: { numShards: 2 },
      });
    await this.#kept.create(client);
    client.close();
  }

  #client(attempts = 8): JadeClient {
    return new JadeClient({ url: this.#server.url, apiKey: this.#apiKey, retries: { attempts }, timeoutMs: 60_000 });
  }

  async #round(round: number): Promise<void> {
    const { maxLoadMs, report } = this.#options;
    // One attempt: a write whose answer is lost must not be made again after the restart.
    const client = this.#client(1);
    const lanes = DURABILITIES.flatMap((durability) =>
      Array.from({ length: LANES }, (_, lane) => this.#lane(client.vectors(durability), durability, lane)),
    );
    lanes.push(this.#kept.lane(client));
    await sleep(MIN_LOAD_MS + this.#random() * (maxLoadMs - MIN_LOAD_MS));
    const killedMs = performance.now();
    await this.#server.kill9();
    await Promise.all(lanes);
    client.close();
    await this.#start();
    this.result.kills++;
    this.result.found = 0;
    this.result.slowestStartMs = Math.max(this.result.slowestStartMs, Math.round(performance.now() - killedMs));
    for (const durability of DURABILITIES) await this.#judge(durability, killedMs);
    const after = this.#client();
    this.result.problems.push(...(await this.#kept.judge(after)));
    this.result.kept = this.#kept.done;
    after.close();
    report?.(`round ${round + 1}: ${this.result.acknowledged} acknowledged, ${this.result.found} vectors there`);
  }

  /** Writes until the server is gone. */
  async #lane(vectors: Vectors, durability: Durability, lane: number): Promise<void> {
    const history = this.#histories.get(durability)!;
    for (;;) {
      const first = Math.floor(this.#random() * (IDS_PER_LANE / CHUNK)) * CHUNK + lane * IDS_PER_LANE;
      const rows = Array.from({ length: CHUNK }, (_, at) => first + at);
      const ids = rows.map((row) => `v${row}`);
      const number = ++this.#lastNumber;
      const isDelete = this.#random() < DELETES;
      history.begin(ids, number, isDelete);
      try {
        if (isDelete) await vectors.deleteMany({ ids });
        else {
          const chunk = rows.map((row) => ({ id: `v${row}`, values: valuesOf(row, number), metadata: { number } }));
          const { failed } = await vectors.upsertChunk(chunk);
          if (failed > 0) throw new Error(`${failed} of a chunk are refused`);
        }
      } catch {
        return;
      }
      history.acknowledged(ids, number, performance.now());
      this.result.acknowledged += ids.length;
    }
  }

  async #judge(durability: Durability, killedMs: number): Promise<void> {
    const { problems, oldestLossMs } = this.result;
    const history = this.#histories.get(durability)!;
    const client = this.#client();
    const vectors = client.vectors(durability);
    const found = new Map<string, number>();
    for await (const { id, values, metadata } of vectors.list({
      limit: 1000,
      includeValues: true,
      includeMetadata: true,
    })) {
      const number = values![0]!;
      if (found.has(id)) problems.push(`${durability}: ${id} is listed twice`);
      if (String(values) !== String(valuesOf(Number(id.slice(1)), number)) || metadata?.["number"] !== number)
        problems.push(`${durability}: ${id} has values or metadata of no write`);
      found.set(id, number);
    }
    problems.push(...history.judge(found, killedMs).map((text) => `${durability}: ${text}`));
    oldestLossMs[durability] = Math.round(history.oldestLossMs);
    const count = await vectors.count();
    if (count !== found.size) problems.push(`${durability}: ${count} are counted, ${found.size} listed`);
    await this.#search(vectors, durability, [...found]);
    this.result.found += found.size;
    client.close();
  }

  async #search(
    vectors: Vectors,
    durability: Durability,
    found: readonly (readonly [string, number])[],
  ): Promise<void> {
    for (let sample = 0; sample < SAMPLES && found.length > 0; sample++) {
      const [id, number] = found[Math.floor(this.#random() * found.length)]!;
      const { results } = await vectors.search({ vector: valuesOf(Number(id.slice(1)), number) }, { topK: 1 });
      const hit = results[0];
      if (hit?.id !== id || hit.score !== 0)
        this.result.problems.push(`${durability}: a search for ${id} found ${hit?.id ?? "nothing"}`);
    }
  }
}
