// `jade-db status` and `jade-db ready`.
import type { Command } from "commander";
import { withContext } from "./context.ts";
import { CommandFailure, EXIT } from "./exit-codes.ts";

export function addStatusCommands(program: Command): void {
  program
    .command("status")
    .description("what the server says about itself")
    .action((_flags: object, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, print }) => print((await client.status()) as object)),
    );
  program
    .command("ready")
    .description("whether the server can serve; exits with 6 when not, and names what fails")
    .action((_flags: object, command: Command) =>
      withContext(command, { key: "root" }, async ({ client, print }) => {
        const { ready, details } = await client.ready();
        print({ ready, ...(details as object) });
        if (!ready) throw new CommandFailure("the server is not ready", EXIT.unavailable);
      }),
    );
}
