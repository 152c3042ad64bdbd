// The calls about ids that belong to this shard by their hash, where rows are placed by metadata or values: finds the shard that has the row, and
// brings it to the one where it belongs; and the rows that are elsewhere when that changes.
// Guarantees: an id has one placement, which changes when its row is in the new shard; a move that was cut off is undone, or ended where the
// placement had changed; a repeated write is answered as the first time. Must not: know objects; `ask` reaches the other shards.
import type {
  Durability,
  VectorAnswer,
  VectorCall,
  VectorInput,
  VectorRequest,
  VectorStamp,
  WrittenAnswer,
} from "../../wire/vector.ts";
import { isVectorWrite } from "../../wire/vector.ts";
import type { Holds } from "../shard/shard-config.ts";
import { failureOf } from "../shard/shard-desk.ts";
import { LATE_MOVE_MS, MAX_PLACED_WAITING, SPREAD_ROWS } from "./limits.ts";
import type { Move, Placements } from "./placements.ts";
import {
  BEING_KEPT,
  BEING_RESTORED,
  leavesItsShard,
  MOVING,
  QUEUE_FULL,
  scattered,
  UNKNOWN,
} from "./placer-refusals.ts";
import {
  byTarget,
  earlier,
  isFailure,
  isUnknown,
  movedAsItIs,
  type Placing,
  parsed,
  type Result,
  withoutTwins,
} from "./placer-rows.ts";
import { type ShardMap, shardOfRow } from "./shard-map.ts";

export interface Identity {
  readonly writeId: Uint8Array;
  readonly bodyHash: Uint8Array;
}

export interface PlacerOptions {
  readonly placements: Placements;
  readonly own: number;
  readonly dimension: number;
  /** Undefined = not learned yet: rows stay where the hash of their id says. */
  readonly map: () => ShardMap | undefined;
  /** The shard that an id belongs to by its hash: among those that speak for ids; among so many. */
  readonly homeOf: (id: string) => number;
  readonly hashOf: (id: string, shards: number) => number;
  /** One call of a shard, this one included. Rejects where nobody knows what became of it. */
  readonly ask: (shard: number, request: VectorRequest) => Promise<VectorAnswer>;
  readonly kept: (identity: Identity) => VectorAnswer | undefined;
  /** In the commit of what was changed since the last `await`. */
  readonly keep: (identity: Identity, answer: VectorAnswer) => void;
  /** Where this shard is, for answers. */
  readonly place: () => { readonly term: number; readonly revision: number };
  readonly now: () => number;
  /** What is not done for the time being. */
  readonly holds: () => Holds | undefined;
}

/** Kinds that name ids: they come to the shard of the id's hash. */
export function isById({ kind }: VectorRequest): boolean {
  return kind === "upsert" || kind === "update" || kind === "delete" || kind === "get";
}

export class Placer {
  readonly #options: PlacerOptions;
  /** Moves that a crash or a lost answer cut off, by id. */
  readonly #cut = new Map<string, Move>();
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: PlacerOptions) {
    this.#options = options;
    for (const move of options.placements.moves()) this.#cut.set(move.id, move);
  }

  /** When the next cut-off move can be settled; undefined = there is none. */
  get nextSettleAtMs(): number | undefined {
    const times = [...this.#cut.values()].map(({ lateUntilMs }) => lateUntilMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Runs one call about ids. Never rejects for what a caller can cause. */
  async run({ request, writeId, bodyHash }: VectorCall): Promise<VectorAnswer> {
    if (!isVectorWrite(request)) return this.#guarded(() => this.#read(request));
    const identity = writeId && bodyHash ? { writeId: writeId.slice(), bodyHash: bodyHash.slice() } : undefined;
    return this.#inTurn(async () => {
      const holds = this.#options.holds();
      if (holds && holds !== "moves") return BEING_RESTORED;
      const before = identity && this.#options.kept(identity);
      if (before) return before;
      const answer = await this.#write(request);
      if (identity && answer.kind === "written" && !answer.results.some(isUnknown))
        this.#options.keep(identity, answer);
      return answer;
    });
  }

  /** One after another: what one write decides by is not changed by the next. */
  async #inTurn(run: () => Promise<VectorAnswer>): Promise<VectorAnswer> {
    if (this.#waiting >= MAX_PLACED_WAITING) return QUEUE_FULL;
    this.#waiting++;
    const turn = this.#last.then(() => this.#guarded(run));
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting--;
    }
  }

  /** What waited in line, or ran, when this was called is over. */
  quiet(): Promise<unknown> {
    return this.#last;
  }

  get #areMovesHeld(): boolean {
    const holds = this.#options.holds();
    return holds === "moves" || holds === "all";
  }

  async #guarded(run: () => Promise<VectorAnswer>): Promise<VectorAnswer> {
    try {
      return await run();
    } catch (error) {
      return failureOf(error);
    }
  }

  #written(results: readonly Result[]): WrittenAnswer {
    return { kind: "written", ...this.#options.place(), results };
  }

  async #read(request: VectorRequest): Promise<VectorAnswer> {
    if (request.kind !== "get") throw new Error(`${request.kind} is no read by id`);
    const { ids, shown } = request;
    const rows: (VectorAnswer & { kind: "rows" })["rows"][number][] = ids.map(() => null);
    for (const [shard, places] of this.#byShard(ids)) {
      const answer = await this.#options.ask(shard, { kind: "get", ids: places.map((at) => ids[at]!), shown });
      if (answer.kind !== "rows") return answer;
      for (const [index, at] of places.entries()) rows[at] = answer.rows[index] ?? null;
    }
    return { kind: "rows", ...this.#options.place(), rows, cursor: new Uint8Array(0) };
  }

  #byShard(ids: readonly string[]): ReadonlyMap<number, readonly number[]> {
    const shards = new Map<number, number[]>();
    for (const [at, id] of ids.entries()) {
      const shard = this.#options.placements.shardOf(id);
      const places = shards.get(shard);
      if (places) places.push(at);
      else shards.set(shard, [at]);
    }
    return shards;
  }

  async #write(request: VectorRequest): Promise<VectorAnswer> {
    switch (request.kind) {
      case "upsert":
        if (request.atomic && request.rows.length > 1) return this.#upsertWhole(request.rows, request.durability);
        return this.#upsert(request.rows, request.durability);
      case "delete":
        return this.#delete(request.ids, request.durability);
      case "update":
        return this.#update(request);
      default:
        throw new Error(`${request.kind} is no write by id`);
    }
  }

  async #delete(ids: readonly string[], durability: Durability | undefined): Promise<VectorAnswer> {
    if (ids.some((id) => this.#cut.has(id))) return MOVING;
    const results: Result[] = ids.map(() => null);
    for (const [shard, places] of this.#byShard(ids)) {
      const answer = await this.#options.ask(shard, { kind: "delete", ids: places.map((at) => ids[at]!), durability });
      if (answer.kind !== "written") return answer;
      for (const [index, at] of places.entries()) {
        results[at] = answer.results[index] ?? null;
        if (durability === undefined || durability === "sync")
          this.#options.placements.set(ids[at]!, this.#options.own);
      }
    }
    return this.#written(results);
  }

  async #update(request: VectorRequest & { kind: "update" }): Promise<VectorAnswer> {
    const { id, values, metadata, durability } = request;
    if (this.#cut.has(id)) return MOVING;
    const { placements, ask } = this.#options;
    const held = placements.shardOf(id);
    const answer = await ask(held, { kind: "get", ids: [id], shown: { values: true, metadata: true } });
    if (answer.kind !== "rows") return answer;
    const [row] = answer.rows;
    if (!row) return ask(held, request);
    const changed = { id, values: values ?? row.values!, metadata: metadata ?? row.metadata ?? new Uint8Array(0) };
    return this.#target(changed, held) === held ? ask(held, request) : this.#upsert([changed], durability);
  }

  /** Where the row belongs. One that cannot be judged is refused by the shard that has it. */
  #target({ id, values, metadata }: VectorInput, held: number): number {
    const { dimension, map: mapOf, hashOf } = this.#options;
    const map = mapOf();
    if (map?.kind === "hash") return hashOf(id, map.shards);
    if (!map || values.length !== dimension * 4) return held;
    const json = map.kind === "range" ? parsed(metadata) : {};
    return json ? shardOfRow(map, { values: new Float32Array(values.slice().buffer), metadata: json }) : held;
  }

  async #upsert(rows: readonly VectorInput[], durability: Durability | undefined): Promise<VectorAnswer> {
    if (rows.some(({ id }) => this.#cut.has(id))) return MOVING;
    const results: Result[] = rows.map(() => null);
    for (const run of withoutTwins(rows))
      await this.#place(
        run.map((at) => ({ at, row: rows[at]! })),
        durability,
        results,
      );
    const [only] = results;
    return rows.length === 1 && only && isFailure(only) ? only : this.#written(results);
  }

  /** One commit of one shard: all rows belong there, and none is anywhere else. */
  async #upsertWhole(rows: readonly VectorInput[], durability: Durability | undefined): Promise<VectorAnswer> {
    if (rows.some(({ id }) => this.#cut.has(id))) return MOVING;
    const { placements, ask } = this.#options;
    const placing = rows.map((row, at): Placing => {
      const held = placements.shardOf(row.id);
      return { at, row, held, target: this.#target(row, held) };
    });
    const targets = new Set(placing.map(({ target }) => target));
    const [target] = targets;
    if (target === undefined || targets.size > 1) return scattered(targets.size);
    const leaving = placing.filter(({ held }) => held !== target);
    const [moving] = (await this.#stampsOf(leaving)).keys();
    if (moving !== undefined) return leavesItsShard(moving);
    for (const { row } of leaving) placements.set(row.id, target);
    const answer = await ask(target, { kind: "upsert", rows, atomic: true, durability }).catch(() => UNKNOWN);
    if (answer.kind === "written") return this.#written(answer.results);
    const isUndone = answer.kind === "error" && !isUnknown(answer);
    if (isUndone) for (const { row, held } of leaving) placements.set(row.id, held);
    return answer;
  }

  /** Rows of different ids. */
  async #place(
    rows: readonly { readonly at: number; readonly row: VectorInput }[],
    durability: Durability | undefined,
    results: Result[],
  ): Promise<void> {
    const { placements } = this.#options;
    const placing = rows.map(({ at, row }): Placing => {
      const held = placements.shardOf(row.id);
      return { at, row, held, target: this.#target(row, held) };
    });
    const leaving = placing.filter(({ held, target }) => held !== target);
    const stamps = await this.#stampsOf(leaving);
    const moving = leaving.filter(({ row: { id } }) => stamps.has(id));
    const staying = placing.filter((each) => !moving.includes(each));
    const isHeld = this.#options.holds() === "moves";
    if (isHeld) for (const { at } of moving) results[at] = BEING_KEPT;
    // Before the row is there: one that is somewhere else is found by nobody, one that is nowhere by nobody either.
    for (const { row, held, target } of staying) if (held !== target) placements.set(row.id, target);
    await Promise.all([
      ...[...byTarget(staying)].map((group) => this.#store(group, durability, results)),
      this.#move(isHeld ? [] : moving, stamps, results),
    ]);
  }

  /** Versions of the rows that are held elsewhere than where they belong; none = there is no such row. */
  async #stampsOf(leaving: readonly Placing[]): Promise<ReadonlyMap<string, VectorStamp>> {
    const stamps = new Map<string, VectorStamp>();
    const ids = leaving.map(({ row }) => row.id);
    for (const [shard, places] of this.#byShard(ids)) {
      const answer = await this.#options.ask(shard, { kind: "get", ids: places.map((at) => ids[at]!), shown: {} });
      if (answer.kind !== "rows") throw new Error(`shard ${shard} does not read: ${JSON.stringify(answer)}`);
      for (const row of answer.rows) if (row) stamps.set(row.id, row.stamp);
    }
    return stamps;
  }

  async #store(
    [target, group]: readonly [number, readonly Placing[]],
    durability: Durability | undefined,
    results: Result[],
  ): Promise<void> {
    const stored = await this.#put(target, group, { durability, rows: group.map(({ row }) => row) });
    for (const [index, { at, row, held }] of group.entries()) {
      const result = stored[index]!;
      results[at] = result;
      const isRefused = result !== null && isFailure(result) && !isUnknown(result);
      if (isRefused && held !== target) this.#options.placements.set(row.id, held);
    }
  }

  async #put(
    target: number,
    group: readonly Placing[],
    { rows, durability }: { readonly rows: readonly VectorInput[]; readonly durability: Durability | undefined },
  ): Promise<readonly Result[]> {
    try {
      const answer = await this.#options.ask(target, { kind: "upsert", rows, durability });
      if (answer.kind === "written") return answer.results;
      return group.map(() => (answer.kind === "error" ? answer : UNKNOWN));
    } catch {
      // Whatever it was, the call may have been applied.
      return group.map(() => UNKNOWN);
    }
  }

  /** Each move is written down, the row is stored where it goes, the placement is changed, and the old row is deleted. */
  async #move(moving: readonly Placing[], stamps: ReadonlyMap<string, VectorStamp>, results: Result[]): Promise<void> {
    const { placements, now } = this.#options;
    for (const { row, held, target } of moving) {
      const move = { id: row.id, from: held, to: target, lateUntilMs: now() + LATE_MOVE_MS };
      placements.beginMove(move);
      this.#cut.set(row.id, move);
    }
    const moved = await Promise.all(
      [...byTarget(moving)].map(async ([target, group]) => {
        const rows = group.map(({ row }) => ({ ...row, before: row.before ?? earlier(stamps.get(row.id)!) }));
        const stored = await this.#put(target, group, { rows, durability: "sync" });
        return group.filter(({ at, row }, index) => {
          const result = stored[index]!;
          results[at] = result;
          if (result !== null && !isFailure(result)) {
            placements.set(row.id, target);
            return true;
          }
          if (!isUnknown(result)) this.#end(row.id);
          return false;
        });
      }),
    );
    for (const [from, group] of Map.groupBy(moved.flat(), ({ held }) => held)) {
      const ids = group.map(({ row }) => row.id);
      if (await this.#clear(from, ids)) for (const id of ids) this.#end(id);
      else for (const { at } of group) results[at] = UNKNOWN;
    }
  }

  #end(id: string): void {
    this.#options.placements.endMove(id);
    this.#cut.delete(id);
  }

  /** False = nobody knows. */
  async #clear(shard: number, ids: readonly string[]): Promise<boolean> {
    try {
      return (await this.#options.ask(shard, { kind: "delete", ids, durability: "sync" })).kind === "written";
    } catch {
      // The move stays written down, and is ended later.
      return false;
    }
  }

  /** Undoes or ends what was cut off, as far as no call of it can arrive any more. True = nothing is left. */
  async settle(): Promise<boolean> {
    await this.#inTurn(async () => {
      for (const { id, from, to, lateUntilMs } of [...this.#cut.values()]) {
        if (this.#areMovesHeld || lateUntilMs > this.#options.now()) continue;
        const left = this.#options.placements.shardOf(id) === to ? from : to;
        if (await this.#clear(left, [id])) this.#end(id);
      }
      return this.#written([]);
    });
    return this.#cut.size === 0;
  }

  /** Moves a page of the rows that are here though they belong elsewhere, as they are. Answers where to go on; undefined = no row is left. */
  async spread(cursor: Uint8Array): Promise<Uint8Array | undefined> {
    let next: Uint8Array | undefined = cursor;
    await this.#inTurn(async () => {
      if (this.#areMovesHeld) return BEING_KEPT;
      const { ask, own, homeOf } = this.#options;
      const list = {
        kind: "list",
        cursor,
        limit: SPREAD_ROWS,
        filter: undefined,
        shown: { values: true, metadata: true },
      } as const;
      const page = await ask(own, list);
      if (page.kind !== "rows") return page;
      const rows = page.rows.flatMap((row): readonly VectorInput[] => {
        // Rows of other homes were placed by the map.
        if (!row || homeOf(row.id) !== own || this.#cut.has(row.id)) return [];
        return [movedAsItIs(row)];
      });
      const leaving = rows.filter((row) => this.#target(row, own) !== own);
      const answer = await this.#upsert(leaving, "sync");
      if (answer.kind !== "written" || answer.results.some((result) => result === null || isFailure(result)))
        return answer;
      next = page.cursor.length === 0 ? undefined : page.cursor;
      return answer;
    });
    return next;
  }

  /** As {@link spread}, of the rows of this shard's ids that are in other shards, by id. */
  async spreadPlaced(after: string): Promise<string | undefined> {
    let next: string | undefined = after;
    await this.#inTurn(async () => {
      if (this.#areMovesHeld) return BEING_KEPT;
      const { placements, ask, own } = this.#options;
      const page = placements.page(after, SPREAD_ROWS);
      const held = Map.groupBy(
        page.filter(({ id }) => !this.#cut.has(id)),
        ({ shard }) => shard,
      );
      for (const [shard, entries] of held) {
        const ids = entries.map(({ id }) => id);
        const shown = { values: true, metadata: true };
        const answer = await ask(shard, { kind: "get", ids, shown });
        if (answer.kind !== "rows") return answer;
        const rows = answer.rows.flatMap((row) => (row ? [movedAsItIs(row)] : []));
        // Deleted by a filter: nobody told its home.
        for (const [at, row] of answer.rows.entries()) if (!row) placements.set(ids[at]!, own);
        const leaving = rows.filter((row) => this.#target(row, shard) !== shard);
        const moved = await this.#upsert(leaving, "sync");
        if (moved.kind !== "written" || moved.results.some((result) => result === null || isFailure(result)))
          return moved;
      }
      next = page.length < SPREAD_ROWS ? undefined : page.at(-1)!.id;
      return this.#written([]);
    });
    return next;
  }
}
