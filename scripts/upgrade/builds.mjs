// A build of an earlier commit, beside this checkout: `dist/` in a worktree of its own. Must not: touch this checkout.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../lib/root.mjs";
import { temporaryDirectory } from "../lib/server-process.mjs";

const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();

/** `{ directory, commit, dispose }`. Where the lock file is the same, this checkout's packages are used. */
export async function buildOf(reference) {
  const commit = git("rev-parse", "--short", `${reference}^{commit}`);
  const directory = join(await temporaryDirectory("old-build"), "checkout");
  git("worktree", "add", "--quiet", "--detach", directory, commit);
  const lock = (path) => readFileSync(join(path, "package-lock.json"), "utf8");
  const run = (command, args) =>
    execFileSync(command, args, { cwd: directory, stdio: ["ignore", "ignore", "inherit"] });
  if (lock(directory) === lock(root)) {
    symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
    run(process.execPath, ["scripts/build.mjs"]);
  } else run("npm", ["ci", "--no-audit", "--no-fund"]);
  if (!existsSync(join(directory, "dist/cli.js"))) throw new Error(`${commit} was not built`);
  return {
    directory,
    commit,
    async dispose() {
      git("worktree", "remove", "--force", directory);
      await rm(join(directory, ".."), { recursive: true, force: true });
    },
  };
}
