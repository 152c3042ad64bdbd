// `jade-db tenant …`: tenants and their API keys.
import { type Command, InvalidArgumentError, Option } from "commander";
import type { ConflictPolicy, Consistency, RateLimit, Scope, TenantChanges } from "../client/index.ts";
import { withContext } from "./context.ts";
import { UsageError } from "./exit-codes.ts";

interface TenantFlags {
  readonly replicationFactor?: number;
  readonly consistency?: Consistency;
  readonly conflictPolicy?: ConflictPolicy;
  readonly rate?: number;
  readonly burst?: number;
  readonly quotaBytes?: number;
  readonly quotaKeys?: number;
}

interface KeyFlags {
  readonly name?: string;
  readonly scope?: Scope;
  readonly expiresIn?: number;
  readonly rate?: number;
  readonly burst?: number;
}

const root = { key: "root" } as const;

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("expected a whole number above 0.");
  return value;
}

function addRate(command: Command): Command {
  return command
    .option("--rate <n>", "requests and operations a second, most", wholeNumber)
    .option("--burst <n>", "so many at once (default: a second's)", wholeNumber);
}

function rateOf({ rate, burst }: { readonly rate?: number; readonly burst?: number }): { rateLimit?: RateLimit } {
  if (rate !== undefined) return { rateLimit: { requestsPerSecond: rate, burst } };
  if (burst !== undefined) throw new UsageError("--burst needs --rate");
  return {};
}

function addSettings(command: Command): Command {
  return addRate(command)
    .option("--quota-bytes <n>", "bytes of keys and values it may store, one copy", wholeNumber)
    .option("--quota-keys <n>", "keys it may store", wholeNumber)
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

function settingsOf(flags: TenantFlags): TenantChanges {
  const { replicationFactor, consistency, conflictPolicy, quotaBytes, quotaKeys } = flags;
  const hasQuota = quotaBytes !== undefined || quotaKeys !== undefined;
  return {
    ...rateOf(flags),
    ...(hasQuota ? { quotas: { storedBytes: quotaBytes, keys: quotaKeys } } : {}),
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
    ...(consistency === undefined ? {} : { defaultConsistency: consistency }),
    ...(conflictPolicy === undefined ? {} : { conflictPolicy }),
  };
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function addKeyCommands(tenant: Command): void {
  const key = tenant.command("key").description("API keys of a tenant");
  addRate(key.command("create <tenantId>").description("make a key; it is shown only now"))
    .option("--name <name>", "to tell it from others")
    .addOption(new Option("--scope <scope>", "what it may do").choices(["read-only", "read-write", "admin"]))
    .option("--expires-in <seconds>", "when it stops working (default: never)", wholeNumber)
    .action((tenantId: string, { name, scope, expiresIn, ...rate }: KeyFlags, command: Command) =>
      withContext(command, root, async ({ client, print }) => {
        const input = { name, scope, expiresInSeconds: expiresIn, ...rateOf(rate) };
        print(await client.tenants.keys.create(tenantId, input));
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
  tenant
    .command("usage <tenantId>")
    .description("show how much a tenant holds, and how much it may")
    .action((tenantId: string, _flags: object, command: Command) =>
      withContext(command, root, async ({ client, print }) => print(await client.tenants.usage(tenantId))),
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
