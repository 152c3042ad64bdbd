// `jade-db vector reshard`: another number of shards for a vector database, or another place for its vectors.
// Guarantees: what was begun goes on by itself; interrupting the command stops nothing but its telling. Must not: cancel unasked.
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { DatabaseReshard, Databases } from "../client/index.ts";
import { withContext } from "./context.ts";
import { type NamespaceFlags, namespaceOption } from "./database-commands.ts";
import { UsageError } from "./exit-codes.ts";
import { wholeNumber } from "./tenant-commands.ts";

const tenant = { key: "tenant" } as const;
const POLL_MS = 1000;

export interface ReshardFlags extends NamespaceFlags {
  readonly shards?: number;
  readonly anew?: boolean;
  readonly wait?: boolean;
  readonly status?: boolean;
  readonly cancel?: boolean;
}

type Resharder = Pick<Databases, "reshard" | "resharding" | "cancelReshard">;

function begun(
  databases: Resharder,
  id: string,
  { shards, anew, status, cancel }: ReshardFlags,
): Promise<DatabaseReshard> {
  const given = [shards !== undefined, anew, status, cancel].filter(Boolean).length;
  if (given !== 1) throw new UsageError("give one of --shards, --anew, --status and --cancel");
  if (cancel) return databases.cancelReshard(id);
  return status ? databases.resharding(id) : databases.reshard(id, shards);
}

/** With `wait` until nothing is under way. */
export async function reshard(databases: Resharder, id: string, flags: ReshardFlags, pollMs = POLL_MS) {
  let now = await begun(databases, id, flags);
  while (flags.wait && now.state !== "done") {
    const { state, from, to, progress } = now;
    console.error(`${state}: from ${from} to ${to} shards, ${Math.floor(progress * 100)} %`);
    await sleep(pollMs);
    now = await databases.resharding(id);
  }
  return now;
}

export function addReshardCommand(vector: Command): void {
  vector
    .command("reshard <databaseId>")
    .description(
      "bring a database to another number of shards, or learn again where its vectors belong; needs scope admin",
    )
    .option("--shards <n>", "as many as there are to be", wholeNumber)
    .option("--anew", "as many as there are; sharded by ranges or centroids: where vectors belong is learned again")
    .option("--wait", "tell how far it is until it is done")
    .option("--status", "show how far one is")
    .option("--cancel", "cancel the one that is under way: what has moved goes back")
    .addOption(namespaceOption())
    .action((id: string, flags: ReshardFlags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        print(await reshard(client.databases.namespace(flags.namespace ?? "default"), id, flags));
      }),
    );
}
