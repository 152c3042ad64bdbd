// `jade-db config lock` and `elect`: hold a name until Ctrl-C, or for as long as a command runs.
// Guarantees: what was held is given back at the end; a command whose lock is lost is told to end (SIGTERM).
import { spawn } from "node:child_process";
import { constants } from "node:os";
import type { Command } from "commander";
import type { HeldLock, Leader, LockOptions } from "../client/index.ts";
import { type ConfigContext, withConfig } from "./config-context.ts";
import { CommandFailure, EXIT, UsageError } from "./exit-codes.ts";
import { valueText } from "./input.ts";
import { wholeNumber } from "./tenant-commands.ts";

interface LockFlags {
  readonly ttl?: number;
  readonly wait?: number;
}

interface ElectFlags extends LockFlags {
  readonly string?: boolean;
  readonly listen?: boolean;
}

/** From 0 on. */
function seconds(text: string): number {
  return text === "0" ? 0 : wholeNumber(text);
}

function addTimes(command: Command): Command {
  return command
    .option("--ttl <seconds>", "how long it stays held when this process dies (default: 30)", wholeNumber)
    .option(
      "--wait <seconds>",
      "stand in line so long at most; 0: not at all (default: until it is acquired)",
      seconds,
    );
}

/** Aborted by Ctrl-C or SIGTERM. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => controller.abort(signal));
  return controller.signal;
}

function optionsOf({ ttl, wait }: LockFlags, signal: AbortSignal): LockOptions {
  return { leaseTtlSeconds: ttl, waitSeconds: wait, signal };
}

function line(shown: object): void {
  process.stdout.write(`${JSON.stringify(shown)}\n`);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function lostFailure({ name, lost }: HeldLock): CommandFailure {
  const why = lost.reason instanceof Error ? lost.reason.message : String(lost.reason);
  return new CommandFailure(`${JSON.stringify(name)} was lost: ${why}`, EXIT.conflict);
}

/** Holds it until it is lost or the process is told to end. */
async function hold(held: HeldLock, stop: AbortSignal): Promise<void> {
  const { key, fencingToken, leaseId } = held;
  line({ key, fencingToken, leaseId });
  await Promise.race([aborted(stop), aborted(held.lost)]);
  if (held.lost.aborted) throw lostFailure(held);
}

/** Runs a command while it is held; its exit code is ours. */
async function runHolding(held: HeldLock, [file = "", ...args]: readonly string[], stop: AbortSignal): Promise<void> {
  const env = { ...process.env, JADE_LOCK_KEY: held.key, JADE_FENCING_TOKEN: String(held.fencingToken) };
  const child = spawn(file, args, { env, stdio: "inherit" });
  for (const signal of [stop, held.lost]) void aborted(signal).then(() => child.kill("SIGTERM"));
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", (error) => reject(new UsageError(`${file} cannot be run: ${error.message}`)));
    child.once("exit", (status, signal) => resolve(status ?? 128 + constants.signals[signal ?? "SIGTERM"]));
  });
  if (held.lost.aborted) throw lostFailure(held);
  process.exitCode = code;
}

/** Acquires, works, gives back. An interruption while it waits is no failure. */
async function whileHeld<H extends HeldLock>(
  acquire: (stop: AbortSignal) => Promise<H>,
  work: (held: H, stop: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = interruption();
  let held: H;
  try {
    held = await acquire(stop);
  } catch (error) {
    if (!stop.aborted) throw error;
    throw new CommandFailure(`ended by ${String(stop.reason)} while it waited`);
  }
  try {
    await work(held, stop);
  } finally {
    await held.release();
  }
}

async function listen({ config }: ConfigContext, name: string): Promise<void> {
  const stop = interruption();
  try {
    for await (const leader of config.observe(name, { signal: stop })) line(shownLeader(leader));
  } catch (error) {
    if (!stop.aborted) throw error;
  }
}

function shownLeader(leader: Leader | undefined): object {
  return leader ?? { leader: null };
}

export function addLockCommands(config: Command): void {
  addTimes(config.command("lock").argument("<name>").argument("[command...]"))
    .description("hold a lock until Ctrl-C, or while a command runs: lock <name> -- <command…>")
    .action((name: string, command: readonly string[], flags: LockFlags, self: Command) =>
      withConfig(self, ({ config: space }) =>
        whileHeld(
          (stop) => space.lock(name, optionsOf(flags, stop)),
          (held, stop) => (command.length > 0 ? runHolding(held, command, stop) : hold(held, stop)),
        ),
      ),
    );
  addTimes(config.command("elect").argument("<name>").argument("[value]"))
    .description("stand for an election with a JSON value, and lead until Ctrl-C")
    .option("--string", "the value is plain text")
    .option("--listen", "only print who leads, as it changes")
    .action((name: string, value: string | undefined, flags: ElectFlags, self: Command) =>
      withConfig(self, async (context) => {
        if (flags.listen === true) return listen(context, name);
        if (value === undefined) throw new UsageError("give a value, or --listen");
        const said: unknown = JSON.parse(valueText(value, flags));
        await whileHeld((stop) => context.config.elect(name, { ...optionsOf(flags, stop), value: said }), hold);
      }),
    );
}
