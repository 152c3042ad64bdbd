// The test projects: `unit` and `simulation` in Node, `objects` inside workerd, `e2e` against the real server built in dist/. Those of them that hold
// what they test to a time are projects of their own, which run at the end, one file at a time: `objects-timed`, `e2e-timed`.
// Run one with: npx vitest run --project unit [file]

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

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

/** What is promised in milliseconds or in requests a second cannot be judged beside another test. */
const TIMED_OBJECTS = ["access-limits", "access-revocation", "access-tokens", "coordinator"].map(
  (name) => `test/objects/${name}.test.ts`,
);
const TIMED_END_TO_END = ["test/e2e/access.test.ts", "test/e2e/examples.test.ts"];
const ALONE = { fileParallelism: false, sequence: { groupOrder: 2 } } as const;

/** Without transformers: 14 MB of WebAssembly would be compiled for each file of tests. */
const EMBEDDER_DIR = "dist/embedder-words";
const embedder = {
  name: "jade-db-embedder",
  compatibilityDate: "2026-11-01",
  compatibilityFlags: ["no_nodejs_global_timers", "no_web_socket_compression"],
  rootPath: import.meta.dirname,
  modules: [
    { type: "ESModule" as const, path: `${EMBEDDER_DIR}/embedder.js` },
    { type: "CompiledWasm" as const, path: `${EMBEDDER_DIR}/storage.wasm` },
    { type: "Data" as const, path: `${EMBEDDER_DIR}/glove-twitter-25d.jwv` },
  ],
  modulesRoot: EMBEDDER_DIR,
  durableObjects: { EMBEDDERS: { className: "Embedder", useSQLite: true } },
  bindings: {
    JADE_CONFIG: JSON.stringify({
      embedding: { maxWaitingTexts: 100, secrets: [{ name: "PROVIDER_KEY", url: "https://provider.example/v1/" }] },
    }),
    PROVIDER_KEY: "sk-never-told-to-anyone",
  },
  serviceBindings: { EMBEDDING_NETWORK: "provider", AI: { name: "provider", entrypoint: "WorkersAi" } },
};
/** A Worker that speaks as a provider of remote models does, and as Workers AI's binding does. */
const provider = {
  name: "provider",
  compatibilityDate: "2026-11-01",
  rootPath: import.meta.dirname,
  modulesRoot: "test/objects",
  modules: [{ type: "ESModule" as const, path: "test/objects/provider-worker.mjs" }],
};

/** Tests inside workerd. */
function objects(test: NonNullable<TestProjectInlineConfiguration["test"]>): TestProjectInlineConfiguration {
  return {
    plugins: [
      cloudflareTest({
        wrangler: { configPath: "./wrangler.toml" },
        miniflare: {
          // The embedder, as it is built (test/embedder.setup.ts): the service that wrangler.toml names.
          workers: [embedder, provider],
          bindings: {
            JADE_MODE: "test",
            // SHA-256 of "jdb.root.test"
            JADE_ROOT_KEY_HASH: "45295b3fee2dd2e0eacf099132df6fc1d984876a49901a6c83afa5533cbf696e",
            // Tests of hibernation wait so long; those of revocation take less.
            JADE_CONFIG: '{"config":{"hibernateAfterSeconds":4},"vectors":{"archiveStore":"r2"}}',
          },
        },
      }),
    ],
    test: {
      globalSetup: ["./test/wasm.setup.ts", "./test/embedder.setup.ts"],
      // The first request of a run starts everything: some seconds where other things run.
      hookTimeout: 60_000,
      ...test,
    },
  };
}

const endToEnd = {
  environment: "node" as const,
  globalSetup: ["./test/e2e/build.setup.ts"],
  // Nothing takes so long on a quiet machine; several tests kill and restart a server four times.
  testTimeout: 400_000,
  hookTimeout: 400_000,
};

export default defineConfig({
  test: {
    // Left to itself Vitest keeps one core free, which is one of two in CI.
    maxWorkers: availableParallelism(),
    // An object that starts just as its file of tests ends asks Vitest for its module in vain; nothing was tested by then. Every other stray error counts.
    onUnhandledError: ({ name, message }) =>
      !(name === "EnvironmentTeardownError" && message.endsWith('Closing rpc while "resolve" was pending')),
    projects: [
      {
        plugins: [workerModules],
        test: {
          name: "unit",
          environment: "node",
          globalSetup: ["./test/wasm.setup.ts"],
          include: ["src/**/*.test.ts", "test/unit/**/*.test.ts", "scripts/**/*.test.ts"],
          // Its `.wasm` is loaded as the Worker's are.
          server: { deps: { inline: [/@jsquash/] } },
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
      objects({
        name: "objects",
        include: ["test/objects/**/*.test.ts"],
        exclude: TIMED_OBJECTS,
        // Two at once on two cores, and more where other things run.
        testTimeout: 90_000,
      }),
      objects({ name: "objects-timed", include: TIMED_OBJECTS, testTimeout: 30_000, ...ALONE }),
      {
        test: {
          ...endToEnd,
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: TIMED_END_TO_END,
          // After the other projects, and two at once: each has servers, ports and directories of its own, and waits much.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      { test: { ...endToEnd, name: "e2e-timed", include: TIMED_END_TO_END, ...ALONE } },
    ],
    coverage: {
      provider: "istanbul",
      reporter: ["text-summary", "html", "json-summary"],
      include: ["src/**/*.ts", "objects/**/*.ts"],
      exclude: ["**/*.test.ts", "**/*.bench.ts"],
    },
  },
});
