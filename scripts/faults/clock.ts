// A wall clock of its own for each instance, which can be stepped while it runs (clock.c, compiled here).
// Needs a C compiler and `setpriv`, which starts every process of an instance: a script of that name goes before it.
import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { root } from "../lib/root.mjs";

const NS_PER_MS = 1_000_000n;

function run(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error ?? stderr.trim()}`);
  return stdout;
}

export class Clocks {
  readonly #directory: string;
  readonly #library: string;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#library = join(directory, "clock.so");
  }

  /** Why this machine permits none; undefined = it does. */
  static refusal(): string | undefined {
    try {
      run("cc", "--version");
      run("setpriv", "--version");
      return process.platform === "linux" ? undefined : "not Linux";
    } catch (error) {
      return String(error);
    }
  }

  static open(directory: string): Clocks {
    const clocks = new Clocks(directory);
    mkdirSync(directory, { recursive: true });
    run("cc", "-O2", "-shared", "-fPIC", "-o", clocks.#library, join(root, "scripts/faults/clock.c"));
    return clocks;
  }

  #file(zone: string): string {
    return join(this.#directory, `${zone}.offset`);
  }

  /** The PATH of an instance whose clock is to be stepped. */
  path(zone: string): string {
    const bin = join(this.#directory, `${zone}-bin`);
    mkdirSync(bin, { recursive: true });
    writeFileSync(this.#file(zone), Buffer.alloc(8));
    const before = `LD_PRELOAD=${this.#library} FAULTS_CLOCK=${this.#file(zone)}`;
    writeFileSync(join(bin, "setpriv"), `#!/bin/sh\n${before} exec ${run("which", "setpriv").trim()} "$@"\n`);
    chmodSync(join(bin, "setpriv"), 0o755);
    return `${bin}:${process.env["PATH"]}`;
  }

  step(zone: string, offsetMs: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(offsetMs) * NS_PER_MS);
    const file = openSync(this.#file(zone), "r+");
    writeSync(file, bytes, 0, bytes.length, 0);
    closeSync(file);
  }
}
