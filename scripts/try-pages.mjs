// `npm run try-pages`: the commands of the operations pages as they stand there, one page after the other in one shell, by whoever knows nothing else.
//   npm run try-pages -- [page ...]      default: all, in the order in which each finds what the ones before it left
// A block ```sh must succeed, each of its commands; ```sh refused must not; ```sh elsewhere is not run here. Other blocks are what is printed.
// Everything happens in a network, process table and /srv of its own (root on Linux), which are gone afterwards. Exit: 0 = all went as the pages say.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildAll } from "./build.mjs";
import { root } from "./lib/root.mjs";

const PAGES = [
  "bootstrap",
  "monitoring",
  "maintenance",
  "upgrade",
  "replace",
  "lost-disk",
  "lost-bucket",
  "decommission",
];
const BLOCK = /^( *)```sh(?: (refused|elsewhere))?\n([\s\S]*?)^ *```$/gm;
const BLOCK_MS = 400_000;
const END = "__end__";
const ISOLATED = ["-n", "-p", "-m", "-f", "--kill-child", "--mount-proc"];
const FIRST = "ip link set lo up && mount -t tmpfs tmpfs /srv";

function blocksOf(page) {
  const text = readFileSync(join(root, "docs/operations", `${page}.md`), "utf8");
  return [...text.matchAll(BLOCK)].flatMap(([, indent, kind = "", body]) =>
    kind === "elsewhere"
      ? []
      : [{ page, isRefused: kind === "refused", text: body.replaceAll(`\n${indent}`, "\n").trim() }],
  );
}

/** One bash for all blocks. */
class Shell {
  #child = spawn("unshare", [...ISOLATED, "bash", "--noprofile", "--norc"], {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"],
  });
  #text = "";
  #told = () => undefined;
  #ended = () => undefined;
  #file;

  constructor(directory) {
    this.#file = join(directory, "block.sh");
    this.#child.stdout.setEncoding("utf8").on("data", (text) => {
      this.#text += text;
      this.#told();
    });
    this.#child.once("close", () => this.#ended());
    this.#child.stdin.write(`exec 2>&1; set -E; trap 'failed=1' ERR; ${FIRST} || exit 2\n`);
  }

  /** What it printed, and whether every command of it succeeded. */
  run(block) {
    writeFileSync(this.#file, `${block}\n`);
    this.#text = "";
    this.#child.stdin.write(`failed=0; . ${this.#file} < /dev/null; echo "${END} $failed"\n`);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not within ${BLOCK_MS / 1000} s:\n${this.#text}`)), BLOCK_MS);
      this.#told = () => {
        const end = new RegExp(`${END} (\\d)\\n`).exec(this.#text);
        if (!end) return;
        clearTimeout(timer);
        resolve({ printed: this.#text.slice(0, end.index), isGood: end[1] === "0" });
      };
      this.#ended = () => reject(new Error(`the shell ended:\n${this.#text}`));
    });
  }

  /** With it everything that it started. */
  kill() {
    this.#child.kill("SIGKILL");
  }
}

await buildAll({ quiet: true });
const pages = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), "jade-pages-"));
const shell = new Shell(directory);
let problems = 0;
try {
  for (const { page, text, isRefused } of (pages.length > 0 ? pages : PAGES).flatMap(blocksOf)) {
    const beganMs = performance.now();
    const { printed, isGood } = await shell.run(text);
    const took = `${((performance.now() - beganMs) / 1000).toFixed(1)} s`;
    console.log(`\n## ${page} (${took})\n$ ${text.replaceAll("\n", "\n> ")}\n${printed}`);
    if (isGood !== isRefused) continue;
    problems++;
    console.log(`FAILED: this should ${isRefused ? "have been refused" : "succeed"}`);
  }
} finally {
  shell.kill();
  rmSync(directory, { recursive: true, force: true });
}
console.log(problems === 0 ? "ok: every command did what its page says" : `${problems} problems`);
process.exit(problems === 0 ? 0 : 1);
