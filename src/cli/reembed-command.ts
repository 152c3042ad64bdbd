// `jade-db database reembed`: a database's vectors made anew by another model.
// Guarantees: what was begun goes on by itself; interrupting the command stops nothing but its telling. Must not: cancel unasked.
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, Option } from "commander";
import type { Databases, Reembedding } from "../client/index.ts";
import { withContext } from "./context.ts";
import { type NamespaceFlags, namespaceOption } from "./database-commands.ts";
import { CommandFailure, UsageError } from "./exit-codes.ts";

const tenant = { key: "tenant" } as const;
const POLL_MS = 1000;

interface Flags extends NamespaceFlags {
  readonly model?: string;
  readonly textField?: string;
  readonly onMissing?: "fail" | "drop";
  readonly wait?: boolean;
  readonly status?: boolean;
  readonly cancel?: boolean;
}

async function ended(databases: Databases, id: string): Promise<Reembedding> {
  for (;;) {
    const job = await databases.reembedding(id);
    if (job.state === "failed") throw new CommandFailure(`re-embedding failed: ${job.message}`);
    if (job.state !== "running" && job.state !== "switching") return job;
    const waits = job.message === "" ? "" : ` (${job.message})`;
    console.error(`${job.state}: ${job.embedded} of ${job.rows || "?"} vectors${waits}`);
    await sleep(POLL_MS);
  }
}

async function run(databases: Databases, id: string, flags: Flags): Promise<Reembedding> {
  if (flags.cancel) return databases.cancelReembedding(id);
  if (flags.status) return databases.reembedding(id);
  const { model, textField, onMissing } = flags;
  if (model === undefined) throw new UsageError("--model says by which model; or give --status or --cancel");
  const job = await databases.reembed(id, { model, textField, onMissing });
  return flags.wait ? ended(databases, id) : job;
}

export function addReembedCommand(database: Command): void {
  database
    .command("reembed <databaseId>")
    .description("make all vectors anew by another model, from the texts in metadata; needs scope admin")
    .option("--model <modelId>", "what makes them from here on")
    .option("--text-field <name>", "the metadata field with the text (default: text)")
    .addOption(
      new Option("--on-missing <how>", "of rows that cannot be embedded (default: fail)").choices(["fail", "drop"]),
    )
    .option("--wait", "tell how far it is until it has ended")
    .option("--status", "show the one that is under way, or the last one")
    .option("--cancel", "end the one that is under way; the database stays as it is")
    .addOption(namespaceOption())
    .action((id: string, flags: Flags, command: Command) =>
      withContext(command, tenant, async ({ client, print }) => {
        print(await run(client.databases.namespace(flags.namespace ?? "default"), id, flags));
      }),
    );
}
