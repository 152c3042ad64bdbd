// Gathers what a server needs to run, and nothing else, from a built checkout: node deploy/docker/assemble.mjs <directory>
import { cpSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";

const [, , out] = process.argv;
if (!out) {
  console.error("say a directory");
  process.exit(2);
}
const root = join(import.meta.dirname, "../..");
const platforms = readdirSync(join(root, "node_modules/@cloudflare"))
  .filter((name) => name.startsWith("workerd-linux-"))
  .map((name) => `node_modules/@cloudflare/${name}`);
const parts = ["bin", "dist", "templates", "package.json", "LICENSE", "node_modules/workerd", ...platforms];
mkdirSync(out, { recursive: true });
for (const part of parts) {
  if (!existsSync(join(root, part))) throw new Error(`${part} is missing: run npm ci`);
  cpSync(join(root, part), join(out, part), { recursive: true, dereference: true });
}
cpSync(join(import.meta.dirname, "healthcheck.mjs"), join(out, "healthcheck.mjs"));
console.log(`${out} holds ${parts.join(", ")}`);
