// `jade-db cluster autoscale`: looks at the load every few seconds, and says, or does, what follows.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError } from "commander";
import { problemOf, type ScalingRules } from "../cluster/scaling.ts";
import { withContext } from "./context.ts";
import { UsageError } from "./exit-codes.ts";
import { Scaler } from "./scaler.ts";
import { wholeNumber } from "./tenant-commands.ts";

interface Flags {
  readonly min: number;
  readonly max: number;
  readonly above: number;
  readonly below: number;
  readonly upAfter: number;
  readonly downAfter: number;
  readonly cooldown: number;
  readonly every: number;
  readonly act?: boolean;
  readonly startCommand?: string;
  readonly stopCommand?: string;
}

function load(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError("expected a number above 0 and at most 1.");
  return value;
}

function rulesOf({ min, max, above, below, upAfter, downAfter, cooldown }: Flags): ScalingRules {
  const times = { upAfterMs: upAfter * 1000, downAfterMs: downAfter * 1000, cooldownMs: cooldown * 1000 };
  const rules = { min, max, above, below, ...times };
  const problem = problemOf(rules);
  if (problem !== undefined) throw new UsageError(problem);
  return rules;
}

/** By a shell, with the zone as `JADE_ZONE`. */
async function runHook(text: string, zone: string): Promise<void> {
  const child = spawn("sh", ["-c", text], { stdio: "inherit", env: { ...process.env, JADE_ZONE: zone } });
  const [code, signal] = await once(child, "close");
  if (code !== 0) throw new Error(`the command for ${zone} ended with ${signal ?? `exit code ${code}`}: ${text}`);
}

function actuatorOf({ act, startCommand, stopCommand }: Flags) {
  if (!act) return undefined;
  if (startCommand === undefined || stopCommand === undefined)
    throw new UsageError("--act needs --start-command and --stop-command");
  return (kind: "start" | "stop", zone: string) => runHook(kind === "start" ? startCommand : stopCommand, zone);
}

export function addAutoscaleCommand(cluster: Command): void {
  cluster
    .command("autoscale")
    .description("start and drain instances of the table by their load; without --act it only says what it would do")
    .requiredOption("--min <n>", "instances, fewest", wholeNumber)
    .requiredOption("--max <n>", "instances, most", wholeNumber)
    .option("--above <load>", "mean load that starts one; 1 = a core of each instance's busiest process", load, 0.7)
    .option("--below <load>", "mean load that drains one", load, 0.3)
    .option("--up-after <seconds>", "how long it must be above", wholeNumber, 60)
    .option("--down-after <seconds>", "how long it must be below", wholeNumber, 600)
    .option("--cooldown <seconds>", "from the end of a change to the next", wholeNumber, 300)
    .option("--every <seconds>", "between two looks", wholeNumber, 10)
    .option("--act", "do it")
    .option("--start-command <command>", "starts the instance of $JADE_ZONE")
    .option("--stop-command <command>", "stops the instance of $JADE_ZONE, whose data has moved")
    .action((flags: Flags, command: Command) =>
      withContext(command, { key: "root" }, async ({ client }) => {
        const tell = (line: string): void => console.log(`${new Date().toISOString()} ${line}`);
        const rules = rulesOf(flags);
        const scaler = new Scaler({ client, rules, actuate: actuatorOf(flags), tell, sleep, now: Date.now });
        for (;;) {
          await scaler.look().catch((error: unknown) => tell(`not done: ${String(error)}`));
          await sleep(flags.every * 1000);
        }
      }),
    );
}
