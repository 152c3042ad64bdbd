// `jade-db config webhook …`
import { type Command, Option } from "commander";
import type { NewWebhook } from "../client/index.ts";
import { withConfig } from "./config-context.ts";
import { collect, wholeNumber } from "./tenant-commands.ts";

interface CreateFlags extends Omit<NewWebhook, "url" | "events"> {
  readonly event?: readonly ("put" | "delete")[];
}

function addCreate(webhook: Command): void {
  webhook
    .command("create <url>")
    .description("have changes sent to a URL; the secret is shown only now")
    .option("--key <key>", "of this key")
    .option("--prefix <prefix>", "of keys that begin with this; empty: of all keys")
    .option("--start <key>", "of keys from this one on")
    .option("--end <key>", "of keys before this one")
    .addOption(new Option("--event <kind...>", "only these").choices(["put", "delete"]))
    .option("--start-revision <n>", "from this revision on (default: from now on)", wholeNumber)
    .option("--secret <secret>", "whsec_ and base64 (default: one is made)")
    .option("--max-attempts <n>", "then it is a dead letter", wholeNumber)
    .option("--batch-events <n>", "most events of one request", wholeNumber)
    .addOption(new Option("--on-dead-letter <what>", "what a dead letter does").choices(["pause", "skip"]))
    .action((url: string, { event, ...flags }: CreateFlags, command: Command) =>
      withConfig(command, async ({ config, print }) =>
        print(await config.webhooks.create({ ...flags, url, events: event })),
      ),
    );
}

export function addWebhookCommands(program: Command): void {
  const webhook = program.command("webhook").description("changes sent to a URL; needs a key of scope admin");
  addCreate(webhook);
  webhook
    .command("list")
    .description("list the tenant's webhooks")
    .action((_flags: object, command: Command) =>
      withConfig(command, async ({ config, print }) => print(await collect(config.webhooks.list()))),
    );
  webhook
    .command("get <id>")
    .description("show what it sends where, how far it is, why it waits")
    .action((id: string, _flags: object, command: Command) =>
      withConfig(command, async ({ config, print }) => print(await config.webhooks.get(id))),
    );
  webhook
    .command("pause <id>")
    .description("send nothing until it is resumed")
    .action((id: string, _flags: object, command: Command) =>
      withConfig(command, async ({ config, print }) => print(await config.webhooks.pause(id))),
    );
  webhook
    .command("resume <id>")
    .description("go on: what failed last is sent again")
    .option("--skip-dead-letter", "go on behind it instead")
    .action((id: string, flags: { readonly skipDeadLetter?: true }, command: Command) =>
      withConfig(command, async ({ config, print }) => print(await config.webhooks.resume(id, flags))),
    );
  webhook
    .command("replay <id>")
    .description("send again all events from a revision on")
    .argument("<revision>", "the first one", wholeNumber)
    .action((id: string, revision: number, _flags: object, command: Command) =>
      withConfig(command, async ({ config, print }) => print(await config.webhooks.replay(id, revision))),
    );
  webhook
    .command("dead-letters <id>")
    .description("list requests that were given up, the newest first")
    .action((id: string, _flags: object, command: Command) =>
      withConfig(command, async ({ config, print }) => print(await collect(config.webhooks.deadLetters(id)))),
    );
  webhook
    .command("delete <id>")
    .description("send nothing more")
    .action((id: string, _flags: object, command: Command) =>
      withConfig(command, async ({ config, print }) => {
        await config.webhooks.delete(id);
        print({ id, deleted: true });
      }),
    );
}
