// `jade-db doctor`: what may be wrong with the machine, the configuration, the data directory and the server.
import type { Command } from "commander";
import { runDoctor } from "../server/doctor/doctor.ts";
import type { GlobalFlags } from "./context.ts";
import { CommandFailure } from "./exit-codes.ts";
import { formatted } from "./output.ts";

interface DoctorFlags extends GlobalFlags {
  readonly config?: string;
  readonly dataDir?: string;
  readonly bundle?: string;
  readonly log?: string;
}

export function addDoctorCommand(program: Command): void {
  program
    .command("doctor")
    .description(
      "checks the machine, the configuration, the data directory and the server; exits with 1 when something is wrong",
    )
    .option("--config <file>", "configuration file, as for serve")
    .option("--data-dir <directory>", "data directory, as for serve")
    .option(
      "--bundle <file>",
      "also writes all of it (gzip, JSON), without keys, tokens and passwords, for others to look at",
    )
    .option("--log <file>", "a log whose last MiB goes into the bundle")
    .action(async (_flags: object, command: Command) => {
      const { url: given, rootKey, output, config, dataDir, bundle, log } = command.optsWithGlobals<DoctorFlags>();
      const flags = { config, dataDir };
      // Where nobody named one the configuration says where the server listens.
      const url = command.getOptionValueSourceWithGlobals("url") === "default" ? undefined : given;
      const findings = await runDoctor({ flags, env: process.env, url, rootKey, bundle, log });
      console.log(formatted(findings, output));
      if (bundle !== undefined) console.error(`written: ${bundle}. Read it before you send it: gunzip -c ${bundle}`);
      const failed = findings.filter(({ verdict }) => verdict === "fail");
      if (failed.length > 0)
        throw new CommandFailure(`${failed.length} checks fail: ${failed.map(({ check }) => check).join(", ")}`);
    });
}
