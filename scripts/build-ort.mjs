// Makes dist/ort/{ort.mjs,ort.wasm} of node_modules/onnxruntime-web, so that it runs in workerd: the WebAssembly module is imported (compiling bytes is
// not allowed there), one thread, ordinary memory instead of shared memory.
// Guarantees: the same package gives the same files; each patch is counted, so that another version in which things moved fails here, loudly.
// Must not: run at import; other scripts call buildOrt(). Usage: node scripts/build-ort.mjs

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { root } from "./lib/root.mjs";

const PACKAGE = join(root, "node_modules/onnxruntime-web");
const OUT = join(root, "dist/ort");
const BUNDLE = "ort.wasm.bundle.min.mjs";
/** Grows with this script, so that an old build is not taken for a new one. */
const RECIPE = 1;

function replaced(text, from, to, count) {
  const parts = text.split(from);
  if (parts.length - 1 !== count) throw new Error(`onnxruntime-web: ${parts.length - 1} of ${from}, ${count} expected`);
  return parts.join(to);
}

/** Emscripten's own hook, fed by objects/onnx-runtime.ts; no shared memory, and so nothing to wait for on it. */
const patches = {
  name: "onnxruntime",
  setup(builder) {
    builder.onLoad({ filter: /ort\.wasm\.bundle\.min\.mjs$/ }, ({ path }) => {
      let text = readFileSync(path, "utf8");
      const hook = 'return (t.instantiateWasm??=globalThis[Symbol.for("ort.instantiateWasm")])?';
      text = replaced(text, "return t.instantiateWasm?", hook, 1);
      text = replaced(text, "shared:!0", "shared:!1", 2);
      text = replaced(text, "=!Atomics.waitAsync||", "=!0||", 1);
      return { contents: text, loader: "js" };
    });
  },
};

/** The import of a memory of 256 to 65536 pages: flags 3 (shared, with a maximum) become 1. */
function withOwnMemory(bytes) {
  const at = bytes.indexOf(Buffer.from([2, 3, 0x80, 0x02, 0x80, 0x80, 4]));
  if (at < 0 || at > 8192) throw new Error("onnxruntime-web: the import of its memory was not found");
  bytes[at + 1] = 1;
  return bytes;
}

function writeWhole(name, bytes) {
  const aside = join(OUT, `${name}.${process.pid}.tmp`);
  writeFileSync(aside, bytes);
  renameSync(aside, join(OUT, name));
}

/** False = it was there. */
export async function buildOrt() {
  const { version } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  const stamp = `${version} ${RECIPE}`;
  const stampFile = join(OUT, ".version");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return false;
  mkdirSync(OUT, { recursive: true });
  const { outputFiles } = await build({
    stdin: { contents: `export * from ${JSON.stringify(join(PACKAGE, "dist", BUNDLE))}`, resolveDir: OUT },
    outfile: join(OUT, "ort.mjs"),
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: "es2024",
    platform: "browser",
    external: ["node:*"],
    define: { "import.meta.url": "undefined" },
    plugins: [patches],
    legalComments: "inline",
    logLevel: "warning",
  });
  writeWhole("ort.mjs", outputFiles[0].contents);
  writeWhole("ort.wasm", withOwnMemory(readFileSync(join(PACKAGE, "dist/ort-wasm-simd-threaded.wasm"))));
  writeWhole(".version", stamp);
  return true;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await buildOrt();
