// The test projects: `unit` and `simulation` in Node, `objects` inside workerd, `e2e` against the real server built in dist/.
// Run one with: npx vitest run --project unit [file]

import { readFileSync } from "node:fs";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

/** Node gets `.wasm` and `.sql` imports as the Worker does: a compiled WebAssembly.Module, a text. */
const workerModules = {
  name: "jade:worker-modules",
  enforce: "pre" as const,
  load(id: string) {
    if (id.endsWith(".wasm"))
      return `import { readFileSync } from "node:fs"; export default new WebAssembly.Module(readFileSync(${JSON.stringify(id)}));`;
    if (id.endsWith(".sql")) return `export default ${JSON.stringify(readFileSync(id, "utf8"))};`;
    return undefined;
  },
};

export default defineConfig({
  test: {
    projects: [
      {
        plugins: [workerModules],
        test: {
          name: "unit",
          environment: "node",
          globalSetup: ["./test/wasm.setup.ts"],
          include: ["src/**/*.test.ts", "test/unit/**/*.test.ts", "scripts/**/*.test.ts"],
          testTimeout: 60_000,
        },
      },
      {
        plugins: [workerModules],
        test: {
          name: "simulation",
          environment: "node",
          globalSetup: ["./test/wasm.setup.ts"],
          include: ["test/simulation/**/*.test.ts"],
          testTimeout: 300_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              // The embedder, as it is built (test/embedder.setup.ts): the service that wrangler.toml names.
              workers: [
                {
                  name: "jade-db-embedder",
                  compatibilityDate: "2026-11-01",
                  compatibilityFlags: ["no_nodejs_global_timers", "no_web_socket_compression"],
                  rootPath: import.meta.dirname,
                  modules: [
                    { type: "ESModule", path: "dist/embedder-words/embedder.js" },
                    { type: "CompiledWasm", path: "dist/embedder-words/storage.wasm" },
                    { type: "Data", path: "dist/embedder-words/glove-twitter-25d.jwv" },
                  ],
                  modulesRoot: "dist/embedder-words",
                  durableObjects: { EMBEDDERS: { className: "Embedder", useSQLite: true } },
                  bindings: { JADE_CONFIG: '{"embedding":{"maxWaitingTexts":100}}' },
                },
              ],
              bindings: {
                JADE_MODE: "test",
                // SHA-256 of "jdb.root.test"
                JADE_ROOT_KEY_HASH: "45295b3fee2dd2e0eacf099132df6fc1d984876a49901a6c83afa5533cbf696e",
                // Tests of hibernation wait so long; those of revocation take less.
                JADE_CONFIG: '{"config":{"hibernateAfterSeconds":4}}',
              },
            },
          }),
        ],
        test: {
          name: "objects",
          globalSetup: ["./test/wasm.setup.ts", "./test/embedder.setup.ts"],
          include: ["test/objects/**/*.test.ts"],
          testTimeout: 30_000,
          // The first request of a run starts everything: some seconds where other things run.
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          environment: "node",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: ["./test/e2e/build.setup.ts"],
          fileParallelism: false,
          // Nothing takes so long on a quiet machine; several tests kill and restart a server four times.
          testTimeout: 400_000,
          hookTimeout: 400_000,
        },
      },
    ],
    coverage: {
      provider: "istanbul",
      reporter: ["text-summary", "html", "json-summary"],
      include: ["src/**/*.ts", "objects/**/*.ts"],
      exclude: ["**/*.test.ts", "**/*.bench.ts"],
    },
  },
});
