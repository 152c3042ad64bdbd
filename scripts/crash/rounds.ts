// Random kill -9 rounds against a real server under load: what was acknowledged is there, once, and nothing else.
// Guarantees: one round = start, check everything, load, kill -9 of the whole process tree at a random moment, check the files; some
// rounds damage a block of one storage node, which must be healed from the others. Must not: print anything but a summary.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { seededRandom } from "../lib/seeded.mjs";
import { startServer } from "../lib/server-process.mjs";
import { Lane, type LoadCounts } from "./load.ts";
import { checkStore, DAMAGES, damage, nodeDatabases, storedTables } from "./stored.ts";

export interface RoundsOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly blobStore: "sqlite" | "disk";
  readonly lanes: number;
  /** Damage a block in every so many rounds; 0 = never. */
  readonly damageEvery: number;
  readonly maxLoadMs: number;
  readonly report?: (line: string) => void;
}

export interface RoundsResult extends LoadCounts {
  rounds: number;
  flushes: number;
  compactions: number;
  damaged: number;
  healedRows: number;
  corruptBlocks: number;
  slowestStartMs: number;
  /** Stores whose crash left intents or dead blobs for the next start. */
  leftOvers: number;
  problems: string[];
}

/** Sum of a metric over its series. */
function sumOf(metrics: string, name: string): number {
  let sum = 0;
  for (const [, value] of metrics.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))) sum += Number(value);
  return sum;
}

export class CrashRounds {
  readonly #options: RoundsOptions;
  readonly #random: () => number;
  readonly #base = mkdtempSync(join(tmpdir(), "jade-crash-"));
  readonly #lanes: Lane[];
  readonly result: RoundsResult = {
    rounds: 0,
    acknowledged: 0,
    unknown: 0,
    retried: 0,
    abandoned: 0,
    repeated: 0,
    reads: 0,
    unavailable: 0,
    flushes: 0,
    compactions: 0,
    damaged: 0,
    healedRows: 0,
    corruptBlocks: 0,
    slowestStartMs: 0,
    leftOvers: 0,
    problems: [],
  };
  #server: Awaited<ReturnType<typeof startServer>> | undefined;
  #apiKey = "";
  /** A damaged block that is not known to be healed. */
  #isDamaged = false;
  #isDamageDue = false;
  /** Tables that were damaged. One may stay so while nobody reads it, or until its run is written anew. */
  readonly #damagedTables = new Set<string>();

  constructor(options: RoundsOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#lanes = Array.from(
      { length: options.lanes },
      (_, number) =>
        new Lane({
          number,
          seed: options.seed,
          keyCount: 12,
          maxValueBytes: 8000,
          counts: this.result,
          problem: (text) => this.#problem(text),
        }),
    );
    const config = { storage: { memtableMiB: 1, blockCacheMiB: 1, rowCacheMiB: 0, blobStore: options.blobStore } };
    writeFileSync(join(this.#base, "jade.yaml"), JSON.stringify(config));
  }

  #problem(text: string): void {
    this.result.problems.push(`round ${this.result.rounds}: ${text}`);
  }

  get #dataDir(): string {
    return join(this.#base, "data");
  }

  get #blobsDir(): string | undefined {
    return this.#options.blobStore === "disk" ? join(this.#dataDir, "blobs") : undefined;
  }

  async run(): Promise<RoundsResult> {
    try {
      while (this.result.rounds < this.#options.rounds && this.result.problems.length < 20) await this.#round();
      await this.#start();
      const client = this.#client();
      for (const lane of this.#lanes) await lane.verify(client);
      await this.#healed(client);
      client.close();
      return this.result;
    } finally {
      await this.#server?.kill9().catch(() => undefined);
      if (this.result.problems.length === 0) rmSync(this.#base, { recursive: true, force: true });
      else this.#options.report?.(`the data directory stays: ${this.#base}`);
    }
  }

  async #start(): Promise<void> {
    const before = this.#server;
    const began = performance.now();
    this.#server = await startServer({
      dataDir: this.#dataDir,
      ...(before ? { port: before.port, rootKey: before.rootKey } : {}),
      args: ["--config", join(this.#base, "jade.yaml"), "--log-level", "error"],
    });
    this.result.slowestStartMs = Math.max(this.result.slowestStartMs, Math.round(performance.now() - began));
    if (this.#apiKey !== "") return;
    const admin = new JadeClient({ url: this.#server.url, apiKey: this.#server.rootKey });
    this.#apiKey = (await admin.tenants.create({ tenantId: "crash", replicationFactor: 3 })).apiKey;
    admin.close();
  }

  #client(): JadeClient {
    const retries = { attempts: 1 };
    return new JadeClient({
      url: this.#server!.url,
      apiKey: this.#apiKey,
      transport: "session",
      retries,
      timeoutMs: 20_000,
    });
  }

  async #round(): Promise<void> {
    this.result.rounds++;
    await this.#start();
    const checking = this.#client();
    for (const lane of this.#lanes) await lane.verify(checking);
    checking.close();
    const client = this.#client();
    let isStopped = false;
    const running = Promise.all(this.#lanes.map((lane) => lane.run(client, () => isStopped)));
    await sleep(50 + this.#random() * this.#options.maxLoadMs);
    if (this.#isDamaged) await this.#untilHealed();
    await this.#count();
    isStopped = true;
    const killed = this.#server!.kill9();
    client.close();
    await killed;
    await running;
    this.#checkFiles();
    const { rounds, problems } = this.result;
    if (rounds % 20 === 0) this.#options.report?.(`${rounds} rounds, ${problems.length} problems`);
  }

  async #metrics(): Promise<string> {
    const headers = { authorization: `Bearer ${this.#server!.rootKey}` };
    return (await fetch(`${this.#server!.url}/metrics`, { headers })).text();
  }

  /** The healer needs some seconds of life; half of the time the process is killed before it is done. */
  async #untilHealed(): Promise<void> {
    const end = performance.now() + (this.#random() < 0.5 ? 30_000 : this.#random() * 5000);
    do await sleep(200);
    while (performance.now() < end && sumOf(await this.#metrics(), "jade_storage_corrupt_ranges") > 0);
  }

  /** Counters of this life of the server, just before it ends. */
  async #count(): Promise<void> {
    const text = await this.#metrics();
    this.result.flushes += sumOf(text, "jade_storage_flushes_total");
    this.result.compactions += sumOf(text, "jade_storage_compactions_total");
    this.result.healedRows += sumOf(text, "jade_kv_healed_rows_total");
    this.result.corruptBlocks += sumOf(text, "jade_storage_corrupt_blocks_total");
    // What was damaged was found by now (every key was read), unless a merge wrote it anew without it.
    if (sumOf(text, "jade_storage_corrupt_ranges") === 0) this.#isDamaged = false;
  }

  #checkFiles(): void {
    const paths = nodeDatabases(this.#dataDir);
    const damageEvery = this.#options.damageEvery;
    if (damageEvery > 0 && this.result.rounds % damageEvery === 0) this.#isDamageDue = true;
    for (const path of paths) {
      const { problems, leftOver } = checkStore(path, this.#blobsDir);
      if (leftOver > 0) this.result.leftOvers++;
      const isKnown = (problem: string): boolean => [...this.#damagedTables].some((name) => problem.includes(name));
      if (!this.#isDamaged) for (const problem of problems) if (!isKnown(problem)) this.#problem(problem);
    }
    if (!this.#isDamageDue || this.#isDamaged) return;
    const stored = paths.flatMap((path) => storedTables(path).map((table) => ({ path, table })));
    const rows = stored.filter(({ table }) => table.kind === "row");
    const chosen = rows[Math.floor(this.#random() * rows.length)];
    // On a busy machine nothing may have been flushed yet: it is for a later round.
    if (!chosen) return;
    const { path, table } = chosen;
    this.#isDamageDue = false;
    const how = DAMAGES[Math.floor(this.#random() * DAMAGES.length)]!;
    damage(path, table, how, { random: this.#random, blobsDir: this.#blobsDir });
    this.#isDamaged = true;
    this.#damagedTables.add(table.name);
    this.result.damaged++;
  }

  /** In the end no unreadable block may be left. */
  async #healed(client: JadeClient): Promise<void> {
    for (let tries = 0; tries < 120; tries++) {
      for (const lane of this.#lanes) await lane.verify(client);
      if (sumOf(await this.#metrics(), "jade_storage_corrupt_ranges") === 0) return this.#count();
      await sleep(500);
    }
    this.#problem("a damaged block was not healed within a minute");
  }
}
