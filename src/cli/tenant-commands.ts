// `jade-db tenant …`: tenants and their API keys.
import { type Command, InvalidArgumentError, Option } from "commander";
import type { ConflictPolicy, Consistency, Scope, TenantChanges } from "../client/index.ts";
import { withContext } from "./context.ts";

interface TenantFlags {
  readonly replicationFactor?: number;
  readonly consistency?: Consistency;
  readonly conflictPolicy?: ConflictPolicy;
}

interface KeyFlags {
  readonly name?: string;
  readonly scope?: Scope;
  readonly expiresIn?: number;
}

const root = { key: "root" } as const;

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("expected a whole number above 0.");
  return value;
}

function addSettings(command: Command): Command {
  return command
    .option("--replication-factor <n>", "copies of every key", wholeNumber)
    .addOption(new Option("--consistency <level>", "default of the tenant").choices(["one", "quorum", "all"]))
    .addOption(
      new Option("--conflict-policy <policy>", "what becomes of concurrent versions").choices([
        "siblings",
        "lastWriteWins",
        "jsonMerge",
      ]),
    );
}

function settingsOf({ replicationFactor, consistency, conflictPolicy }: TenantFlags): TenantChanges {
  return {
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
    ...(consistency === undefined ? {} : { defaultConsistency: consistency }),
    ...(conflictPolicy === undefined ? {} : { conflictPolicy }),
  };
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function addKeyCommands(tenant: Command): void {
  const key = tenant.command("key").description("API keys of a tenant");
  key
    .command("create <tenantId>")
    .description("make a key; it is shown only now")
    .option("--name <name>", "to tell it from others")
    .addOption(new Option("--scope <scope>", "what it may do").choices(["read-only", "read-write", "admin"]))
    .option("--expires-in <seconds>", "when it stops working (default: never)", wholeNumber)
    .action((tenantId: string, { name, scope, expiresIn }: KeyFlags, command: Command) =>
      withContext(command, root, async ({ client, print }) => {
        print(await client.tenants.keys.create(tenantId, { name, scope, expiresInSeconds: expiresIn }));
      }),
    );
  key
    .command("list <tenantId>")
    .description("list keys (never their text)")
    .action((tenantId: string, _flags: object, command: Command) =>
      withContext(command, root, async ({ client, print }) => print(await collect(client.tenants.keys.list(tenantId)))),
    );
  key
    .command("revoke <tenantId> <keyId>")
    .description("make a key stop working")
    .action((tenantId: string, keyId: string, _flags: object, command: Command) =>
      withContext(command, root, async ({ client, print }) => {
        await client.tenants.keys.revoke(tenantId, keyId);
        print({ tenantId, keyId, revoked: true });
      }),
    );
}

export function addTenantCommands(program: Command): void {
  const tenant = program.command("tenant").description("tenants (need the root key)");
  addSettings(
    tenant.command("create <tenantId>").description("make a tenant and its first key, which is shown only now"),
  ).action((tenantId: string, flags: TenantFlags, command: Command) =>
    withContext(command, root, async ({ client, print }) =>
      print(await client.tenants.create({ tenantId, ...settingsOf(flags) })),
    ),
  );
  tenant
    .command("list")
    .description("list all tenants")
    .action((_flags: object, command: Command) =>
      withContext(command, root, async ({ client, print }) => print(await collect(client.tenants.list()))),
    );
  tenant
    .command("get <tenantId>")
    .description("show one tenant")
    .action((tenantId: string, _flags: object, command: Command) =>
      withContext(command, root, async ({ client, print }) => print(await client.tenants.get(tenantId))),
    );
  addSettings(tenant.command("update <tenantId>").description("change settings of a tenant")).action(
    (tenantId: string, flags: TenantFlags, command: Command) =>
      withContext(command, root, async ({ client, print }) =>
        print(await client.tenants.update(tenantId, settingsOf(flags))),
      ),
  );
  tenant
    .command("delete <tenantId>")
    .description("delete a tenant with all its data")
    .action((tenantId: string, _flags: object, command: Command) =>
      withContext(command, root, async ({ client, print }) => {
        await client.tenants.delete(tenantId);
        print({ tenantId, deleted: true });
      }),
    );
  addKeyCommands(tenant);
}
