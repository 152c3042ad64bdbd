// Where rows are, told to the home of their ids, on node:sqlite with shards that are maps.
import { expect, it } from "vitest";
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { NodeSql } from "../../../test/unit/storage/node-sql.ts";
import type { VectorAnswer, VectorRequest } from "../../wire/vector.ts";
import { Placements } from "./placements.ts";
import { takePlaces } from "./relocate.ts";

const OWN = 1;
const PLACE = { term: 1, revision: 1 };

interface Stamp {
  readonly version: number;
  readonly createdMs: number;
}

class World {
  readonly placements: Placements;
  readonly shards = [0, 1, 2].map(() => new Map<string, Stamp>());
  failing = -1;
  calls = 0;

  constructor() {
    const sql = new NodeSql();
    for (const statements of VECTOR_MIGRATIONS) sql.database.exec(statements);
    this.placements = new Placements(sql, (bytes) => bytes.length, OWN);
  }

  async ask(shard: number, request: VectorRequest): Promise<VectorAnswer> {
    const rows = this.shards[shard]!;
    if (this.calls++ === this.failing) throw new Error("lost");
    if (request.kind === "delete") {
      for (const id of request.ids) rows.delete(id);
      return { kind: "written", ...PLACE, results: [null] };
    }
    if (request.kind !== "get") throw new Error(request.kind);
    const shown = (id: string) => {
      const stamp = rows.get(id);
      return stamp ? { id, stamp: { ...stamp, revision: 1, updatedMs: 1 } } : null;
    };
    return { kind: "rows", ...PLACE, cursor: new Uint8Array(0), rows: request.ids.map(shown) };
  }

  /** All that a shard has. */
  async tell(from: number): Promise<void> {
    const rows = [...this.shards[from]!];
    const told = {
      ids: rows.map(([id]) => id),
      versions: rows.map(([, { version }]) => version),
      createdMs: rows.map(([, { createdMs }]) => createdMs),
    };
    await takePlaces({ placements: this.placements, own: OWN, ask: this.ask.bind(this) }, { from, ...told });
  }
}

it("[VE-307][VE-308] a home knows where its rows are; of one that two shards have the newer stays, in whatever order it is told, and again", async () => {
  const row = (version: number, createdMs = 5): Stamp => ({ version, createdMs });
  for (const order of [
    [0, 2],
    [2, 0],
    [0, 2, 0, 2],
  ])
    for (let failing = -1; failing < 12; failing++) {
      const world = new World();
      const [first, own, third] = world.shards;
      own!.set("here", row(1)).set("old", row(1)).set("new", row(3));
      first!.set("there", row(1)).set("old", row(2)).set("both", row(1)).set("anew", row(7, 5));
      third!.set("new", row(2)).set("both", row(2)).set("anew", row(1, 6)).set("same", row(4));
      first!.set("same", row(4));
      Object.assign(world, { failing });
      for (const from of order) await world.tell(from).catch(() => world.tell(from));
      const placed = ["here", "there", "old", "new", "both", "anew"].map((id) => world.placements.shardOf(id));
      expect(placed).toEqual([OWN, 0, 0, OWN, 2, 2]);
      const held = world.shards.map((rows) => [...rows.keys()].filter((id) => id !== "same").sort());
      expect(held).toEqual([
        ["old", "there"],
        ["here", "new"],
        ["anew", "both"],
      ]);
      expect(world.shards.filter((rows) => rows.has("same"))).toHaveLength(1);
      expect(world.shards[world.placements.shardOf("same")]!.has("same")).toBe(true);
    }
});
