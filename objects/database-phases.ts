// Snapshots and restores of databases whose rows are placed: what the shards must say before the next phase (vector/database/keeping.ts).
// Guarantees: none is passed before every shard is where it says. Must not: store anything.
import { nextKeeping } from "../src/vector/database/keeping.ts";
import type { Lifecycle } from "../src/vector/database/lifecycle.ts";
import type { DatabaseRecord } from "../src/vector/database/record.ts";
import type { CopiedShard } from "./database-copies.ts";
import type { VectorShardRpc } from "./vector-rpc.ts";

/** Rows on their way are waited for so long; then by the alarm. Ms. */
const WAIT_MS = 3000;
const ASK_AGAIN_MS = 50;

/** Runs it for every shard. False = not all of them answered. */
export type EachShard = (run: (shard: VectorShardRpc, copied: CopiedShard) => Promise<void>) => Promise<boolean>;

/** Every shard has what the record says. Undefined = there is no next phase, or not yet. */
export async function lifecycleAfter({ lifecycle }: DatabaseRecord, each: EachShard): Promise<Lifecycle | undefined> {
  const { underWay, restore } = lifecycle ?? {};
  if (!lifecycle || !underWay) return undefined;
  const { phase } = underWay;
  let isSettled = false;
  if (underWay.kind === "snapshot") {
    const look = async (shard: VectorShardRpc, copied: CopiedShard): Promise<void> => {
      if (copied.shard === 0) isSettled = (await shard.shardMap())?.isActive === true;
    };
    if (phase === "holding" && !(await each(look))) return undefined;
  } else if (phase === "placing" || phase === "settling") {
    if (!(await areThere(restore?.token ?? "", each))) return undefined;
  }
  return nextKeeping(lifecycle, underWay, isSettled);
}

async function areThere(token: string, each: EachShard): Promise<boolean> {
  const untilMs = Date.now() + WAIT_MS;
  const ask = async (shard: VectorShardRpc): Promise<void> => {
    if (!(await shard.relocation({ kind: "isDone", token }))) throw new Error("rows are under way");
  };
  while (!(await each(ask))) {
    if (Date.now() >= untilMs) return false;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
  return true;
}
