// `jade-db config lease …`
import type { Command } from "commander";
import { shownKey, withConfig } from "./config-context.ts";
import { collect, wholeNumber } from "./tenant-commands.ts";

export function addLeaseCommands(config: Command): void {
  const lease = config.command("lease").description("leases: keys written with one are deleted when it ends");
  lease
    .command("grant")
    .description("grant a lease")
    .argument("<ttlSeconds>", "its time to live", wholeNumber)
    .option("--id <id>", "its number (default: one is chosen)")
    .action((ttlSeconds: number, { id }: { readonly id?: string }, command: Command) =>
      withConfig(command, async ({ config: space, print }) =>
        print(await space.leases.grant(ttlSeconds, { leaseId: id })),
      ),
    );
  lease
    .command("keep-alive <leaseId>")
    .description("begin a lease's time to live anew")
    .action((leaseId: string, _flags: object, command: Command) =>
      withConfig(command, async ({ config: space, print }) => print(await space.leases.keepAlive(leaseId))),
    );
  lease
    .command("ttl <leaseId>")
    .description("show how long a lease has left")
    .option("--keys", "and its keys")
    .action((leaseId: string, flags: { readonly keys?: boolean }, command: Command) =>
      withConfig(command, async ({ config: space, print }) => {
        const { keys, ...details } = await space.leases.get(leaseId, flags);
        print(keys ? { ...details, keys: keys.map((key) => Object.values(shownKey(key))[0]) } : details);
      }),
    );
  lease
    .command("revoke <leaseId>")
    .description("end a lease and delete its keys")
    .action((leaseId: string, _flags: object, command: Command) =>
      withConfig(command, async ({ config: space, print }) => {
        await space.leases.revoke(leaseId);
        print({ leaseId, revoked: true });
      }),
    );
  lease
    .command("list")
    .description("list leases")
    .action((_flags: object, command: Command) =>
      withConfig(command, async ({ config: space, print }) => print(await collect(space.leases.list()))),
    );
}
