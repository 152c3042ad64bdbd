// The shard of a database that an id belongs to: by ranges of a hash of the id alone, the same in every tenant and after every restore.
import { tokenOf } from "./token.ts";

export function shardOf(id: string, numShards: number): number {
  return numShards === 1 ? 0 : Math.floor((tokenOf(0, id).hi * numShards) / 2 ** 32);
}
