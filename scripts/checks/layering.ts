// Imports go one way (DESIGN 2): gateway → objects → domains → wasm; a table says who may import whom.
// Guarantees: lists every import against the table, every platform import of a pure module, every circle, every import from tests.

import { type Gate, readSources, type SourceFile } from "./gate.ts";
import { type Import, importsOf } from "./imports.ts";

/** Folders with decisions only: no platform, no I/O, no packages but zod. */
const DOMAINS = [
  "wire",
  "storage",
  "kv",
  "config",
  "etcd",
  "vector",
  "embedding",
  "replication",
  "access",
  "cluster",
  "telemetry",
] as const;

/** Importer → what it may import besides itself. `x?` = types only. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  wire: [],
  storage: ["wire", "wasm"],
  kv: ["wire", "storage?", "access?"],
  config: ["wire", "storage?", "access?"],
  etcd: ["wire"],
  vector: ["wire", "wasm", "storage", "access?"],
  embedding: ["wire", "wasm"],
  access: ["wire"],
  cluster: ["wire", "access", "storage?", "objects?"],
  replication: ["wire", "kv", "config", "vector", "storage", "cluster", "access"],
  telemetry: ["wire"],
  objects: [...DOMAINS, "wasm", "migrations"],
  gateway: [...DOMAINS, "objects"],
  client: ["wire", "kv?", "config?", "vector?", "access?", "gateway?"],
  server: ["wire", "cluster", "access", "etcd", "config", "telemetry"],
  cli: ["client", "server", "wire", "cluster", "access"],
  dashboard: ["client"],
  worker: ["gateway", "objects"],
};

const PURE = new Set<string>(DOMAINS);
const PURE_PACKAGES = new Set(["zod"]);
const NODE_LAYERS = new Set(["server", "cli"]);

/** Of the Workers. */
const ENTRIES = new Set(["src/worker.ts", "src/embedder.ts", "src/embedder-words.ts"]);

/** The layer of a repository path; undefined = not under the rule (scripts, tests, configuration). */
export function layerOf(path: string): string | undefined {
  if (ENTRIES.has(path)) return "worker";
  if (path.startsWith("dist/wasm/")) return "wasm";
  const [top, second] = path.split("/");
  if (top === "objects" || top === "wasm" || top === "migrations") return top;
  if (top === "src" && second !== undefined && !second.includes(".")) return second;
  return undefined;
}

export function isTest(path: string): boolean {
  return (
    path.startsWith("test/") || path.includes("/testing/") || /\.(test|fuzz\.test|bench|reference)\.ts$/.test(path)
  );
}

function judge(layer: string, item: Import): string | undefined {
  if (item.target === undefined) return judgePackage(layer, item);
  if (isTest(item.target) && !item.target.endsWith(".reference.ts")) return `imports from tests: ${item.target}`;
  const to = layerOf(item.target);
  if (to === undefined || to === layer) return undefined;
  const allowed = MAY_IMPORT[layer];
  if (allowed === undefined) return `the folder ${layer} is not in the table of scripts/checks/layering.ts`;
  if (allowed.includes(to)) return undefined;
  if (allowed.includes(`${to}?`)) {
    return item.typeOnly ? undefined : `${layer} may import only types from ${to}: ${item.specifier}`;
  }
  return `${layer} must not import ${to}: ${item.specifier}`;
}

function judgePackage(layer: string, { specifier, typeOnly }: Import): string | undefined {
  const isNode = specifier.startsWith("node:");
  if (specifier.startsWith("cloudflare:")) {
    const allowed = layer === "objects" || layer === "gateway" || layer === "worker";
    return allowed || typeOnly ? undefined : `${layer} must not import ${specifier}: pass it in`;
  }
  if (isNode && !NODE_LAYERS.has(layer)) return `${layer} must not import ${specifier}: it runs in the Worker`;
  if (layer === "client" && !typeOnly) return `client must not import packages: ${specifier}`;
  if (PURE.has(layer) && !isNode && !PURE_PACKAGES.has(specifier))
    return `${layer} is pure and must not import ${specifier}`;
  return undefined;
}

/** Every circle once, as the list of its files. */
export function findCircles(graph: ReadonlyMap<string, readonly string[]>): readonly (readonly string[])[] {
  const circles: string[][] = [];
  const state = new Map<string, "open" | "done">();
  const trail: string[] = [];
  const visit = (path: string): void => {
    if (state.get(path) === "done") return;
    if (state.get(path) === "open") {
      circles.push([...trail.slice(trail.indexOf(path)), path]);
      return;
    }
    state.set(path, "open");
    trail.push(path);
    for (const next of graph.get(path) ?? []) visit(next);
    trail.pop();
    state.set(path, "done");
  };
  for (const path of graph.keys()) visit(path);
  return circles;
}

/** The whole rule over a set of files. */
export function checkLayering(files: readonly SourceFile[]): readonly string[] {
  const problems: string[] = [];
  const graph = new Map<string, readonly string[]>();
  for (const { path, text } of files) {
    const layer = layerOf(path);
    if (layer === undefined || isTest(path)) continue;
    const imports = importsOf(path, text);
    graph.set(
      path,
      imports.flatMap(({ target }) => (target === undefined ? [] : [target])),
    );
    for (const item of imports) {
      const wrong = judge(layer, item);
      if (wrong !== undefined) problems.push(`${path}:${item.line}: ${wrong}`);
    }
  }
  for (const circle of findCircles(graph)) problems.push(`circle: ${circle.join(" → ")}`);
  return problems;
}

export const layering: Gate = {
  name: "layering",
  async run() {
    const files = await readSources((path) => /^(src|objects)\/.*\.tsx?$/.test(path) && !path.endsWith(".d.ts"));
    return { problems: checkLayering(files), summary: `${files.length} files` };
  },
};
