// kill -9 while a vector database with copies is written to, kept as snapshots, archived and restored: part of `npm run crash -- --vectors`.
// Guarantees: one thing is under way at a time, so what must be there after a restart is known but for the one that the kill cut off; that one
// must have been done whole or not at all. Must not: print.
import { setTimeout as sleep } from "node:timers/promises";
import type { JadeClient } from "../../../src/client/index.ts";
import { VectorSnapshotReader } from "../../../src/wire/vector-snapshot.ts";

const DATABASE = "kept";
const DIMENSION = 8;
const ROWS = 300;
const BATCH = 60;
const MOST_SNAPSHOTS = 4;
const SETTLE_MS = 60_000;

/** Of each id the number of the write that it holds. */
type Rows = ReadonlyMap<string, number>;

const valuesOf = (id: number, number: number): number[] =>
  Array.from({ length: DIMENSION }, (_, at) => (at === 0 ? number : (id * (at + 3)) % 17));

function sameRows(a: Rows, b: Rows): boolean {
  return a.size === b.size && [...a].every(([id, number]) => b.get(id) === number);
}

export class KeptCrash {
  readonly #random: () => number;
  readonly done = { snapshots: 0, archives: 0, restores: 0, copiesRead: 0 };
  /** What was acknowledged, and what it is if the write that was cut off was applied. */
  #rows: Rows = new Map();
  #maybe: Rows | undefined;
  readonly #snapshots = new Map<string, Rows>();
  /** One whose deletion was cut off: there or not. */
  #dropping: string | undefined;
  #last = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  async create(client: JadeClient): Promise<void> {
    await client.databases.create({
      ...{ databaseId: DATABASE, vectorDimension: DIMENSION, metric: "euclidean" },
      ...{ sharding: { numShards: 2 }, replication: { factor: 2 } },
    });
  }

  /** One thing after another until the server is gone. */
  async lane(client: JadeClient): Promise<void> {
    try {
      for (;;) {
        for (let writes = 1 + Math.floor(this.#random() * 3); writes > 0; writes--) await this.#write(client);
        await this.#keep(client);
        if (this.#random() < 0.5) continue;
        await client.databases.archive(DATABASE);
        this.done.archives++;
        await client.databases.restore(DATABASE);
        this.done.restores++;
      }
    } catch {
      // The kill; what it cut off is judged.
    }
  }

  async #write(client: JadeClient): Promise<void> {
    const number = ++this.#last;
    const first = Math.floor(this.#random() * (ROWS / BATCH)) * BATCH;
    const ids = Array.from({ length: BATCH }, (_, at) => first + at);
    this.#maybe = new Map([...this.#rows, ...ids.map((id) => [`v${id}`, number] as const)]);
    await client.vectors(DATABASE).upsertChunk(ids.map((id) => ({ id: `v${id}`, values: valuesOf(id, number) })));
    this.#rows = this.#maybe;
    this.#maybe = undefined;
  }

  async #keep(client: JadeClient): Promise<void> {
    if (this.#snapshots.size >= MOST_SNAPSHOTS) {
      this.#dropping = [...this.#snapshots.keys()][0]!;
      await client.databases.deleteSnapshot(DATABASE, this.#dropping);
      this.#snapshots.delete(this.#dropping);
      this.#dropping = undefined;
    }
    const id = `s${++this.#last}`;
    const held = this.#rows;
    await client.databases.takeSnapshot(DATABASE, id);
    this.#snapshots.set(id, held);
    this.done.snapshots++;
  }

  /** After a restart. */
  async judge(client: JadeClient): Promise<readonly string[]> {
    const problems: string[] = [];
    await this.#settle(client);
    const found = await this.#listed(client, "strong");
    problems.push(...found.problems);
    const isMaybe = this.#maybe && !sameRows(found.rows, this.#rows);
    // Batches go to two shards: of one that was cut off each shard has its part or not.
    const parts = isMaybe ? [...found.rows].every(([id, number]) => this.#fits(id, number)) : true;
    const hasAll = [...this.#rows.keys()].every((id) => found.rows.has(id));
    if (!(isMaybe ? parts && hasAll : sameRows(found.rows, this.#rows)))
      problems.push(
        `kept: ${found.rows.size} rows are there, and not those of ${this.#rows.size} that were acknowledged`,
      );
    this.#rows = found.rows;
    this.#maybe = undefined;
    const copied = await this.#listed(client, "eventual");
    this.done.copiesRead += copied.rows.size;
    if (!sameRows(copied.rows, found.rows)) problems.push("kept: a copy shows other rows than its leader");
    problems.push(...(await this.#judgeSnapshots(client)));
    return problems;
  }

  #fits(id: string, number: number): boolean {
    return number === this.#rows.get(id) || number === this.#maybe?.get(id);
  }

  /** An archive or a restore that was cut off is finished; then it is brought back. */
  async #settle(client: JadeClient): Promise<void> {
    const untilMs = performance.now() + SETTLE_MS;
    for (;;) {
      const state = await client.databases.get(DATABASE).then(({ state: now }) => now);
      try {
        if (state !== "ready") await client.databases.restore(DATABASE);
        await client.vectors(DATABASE).count();
        return;
      } catch (error) {
        if (performance.now() > untilMs) throw error;
        await sleep(200);
      }
    }
  }

  async #listed(client: JadeClient, consistency: "strong" | "eventual") {
    const rows = new Map<string, number>();
    const problems: string[] = [];
    for await (const { id, values } of client
      .vectors(DATABASE)
      .list({ limit: 500, includeValues: true, consistency })) {
      if (rows.has(id)) problems.push(`kept: ${id} is listed twice`);
      if (String(values) !== String(valuesOf(Number(id.slice(1)), values![0]!)))
        problems.push(`kept: ${id} has values of no write`);
      rows.set(id, values![0]!);
    }
    return { rows, problems };
  }

  async #judgeSnapshots(client: JadeClient): Promise<readonly string[]> {
    const problems: string[] = [];
    const listed = new Set((await client.databases.snapshots(DATABASE)).map(({ snapshotId }) => snapshotId));
    for (const [id, held] of this.#snapshots) {
      if (!listed.has(id)) {
        if (id !== this.#dropping) problems.push(`kept: the snapshot ${id} is gone`);
        this.#snapshots.delete(id);
        continue;
      }
      const reader = new VectorSnapshotReader();
      const rows = new Map<string, number>();
      await client.databases.downloadSnapshot(DATABASE, id, (piece) => {
        for (const block of reader.take(piece))
          if (block.kind === "rows")
            for (const { id: row, values } of block.rows) rows.set(row, new Float32Array(values.slice().buffer)[0]!);
      });
      if (!sameRows(rows, held)) problems.push(`kept: the snapshot ${id} holds other rows than when it was taken`);
    }
    this.#dropping = undefined;
    // One that was cut off: nobody knows of it.
    for (const id of listed) if (!this.#snapshots.has(id)) await client.databases.deleteSnapshot(DATABASE, id);
    return problems;
  }
}
