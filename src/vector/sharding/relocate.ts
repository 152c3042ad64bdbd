// Where rows are, told to their homes by the shards that have them, after a restore.
// Guarantees: an id that two shards have has one row and one placement afterwards: that of the row which was written last; told again, nothing
// changes. Must not: know objects; `ask` reaches the shards, this one included. Nothing else may change placements or rows meanwhile.
import type { VectorAnswer, VectorRequest, VectorStamp } from "../../wire/vector.ts";
import type { Placements } from "./placements.ts";

/** A page of rows in the shard `from` whose ids are those of one home, and their versions. */
export interface ToldRows {
  readonly from: number;
  readonly ids: readonly string[];
  readonly versions: readonly number[];
  readonly createdMs: readonly number[];
}

export interface TakingPlaces {
  readonly placements: Placements;
  readonly own: number;
  readonly ask: (shard: number, request: VectorRequest) => Promise<VectorAnswer>;
}

type Stamp = Pick<VectorStamp, "version" | "createdMs">;

/** @throws where a shard does not answer: to be told again */
export async function takePlaces(taking: TakingPlaces, { from, ids, versions, createdMs }: ToldRows): Promise<void> {
  const { placements, own } = taking;
  const ownStamps = await stampsIn(taking, own, ids);
  for (const [at, id] of ids.entries()) {
    const placed = placements.shardOf(id);
    const isTwin = placed === own ? ownStamps[at] !== null : placed !== from;
    const told = { version: versions[at]!, createdMs: createdMs[at]! };
    if (!isTwin || (await isNewer(taking, { id, rival: placed, from, told }))) placements.set(id, from);
  }
}

/** Of two rows of one id the older one is deleted: a move was cut off, or a new row was stored while the snapshot was taken. */
async function isNewer(
  taking: TakingPlaces,
  { id, rival, from, told }: { id: string; rival: number; from: number; told: Stamp },
): Promise<boolean> {
  const [other] = await stampsIn(taking, rival, [id]);
  if (!other) return true;
  const isLater = told.createdMs === other.createdMs ? told.version >= other.version : told.createdMs > other.createdMs;
  const answer = await taking.ask(isLater ? rival : from, { kind: "delete", ids: [id], durability: "sync" });
  if (answer.kind !== "written") throw new Error(`a second row is not deleted: ${JSON.stringify(answer)}`);
  return isLater;
}

async function stampsIn(
  { ask }: TakingPlaces,
  shard: number,
  ids: readonly string[],
): Promise<readonly (Stamp | null)[]> {
  const answer = await ask(shard, { kind: "get", ids, shown: {} });
  if (answer.kind !== "rows") throw new Error(`shard ${shard} does not read: ${JSON.stringify(answer)}`);
  return answer.rows.map((row) => row && row.stamp);
}
