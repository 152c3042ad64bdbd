// The test projects: `unit` and `simulation` in Node, `objects` inside workerd, `e2e` against the real server built in dist/. Those of them that hold
// what they test to a time are projects of their own, which run at the end, one file at a time: `objects-timed`, `e2e-timed`. Long sweeps of seeds,
// `simulation-sweeps`, run at the lowest priority in the time that `e2e` spends waiting.
// Run one with: npx vitest run --project unit [file]

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

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
const TIMED_END_TO_END = ["test/e2e/access.test.ts", "test/e2e/examples-timed.test.ts"];
/** Behind the other projects, where servers, ports and directories are the tests' own. They wait much: one more at once than CI has cores. */
const WAITING = { maxWorkers: 3, sequence: { groupOrder: 1 } } as const;
const SWEEPS = ["test/simulation/seeds.test.ts"];

/** What takes longest begins first, so that nothing long is left alone at the end. Vitest itself goes by the size of a file. */
const LONGEST = [
  ...SWEEPS,
  ...["fail-points", "webhooks", "cluster", "cli", "config", "etcd-grpc", "examples", "crash-rounds"].map(
    (name) => `test/e2e/${name}.test.ts`,
  ),
];
class LongestFirst extends BaseSequencer {
  override async sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    const order = ({ project, moduleId }: TestSpecification): number => {
      const place = LONGEST.findIndex((path) => moduleId.endsWith(`/${path}`));
      return project.config.sequence.groupOrder * LONGEST.length * 2 + (place < 0 ? LONGEST.length : place);
    };
    return (await super.sort(specifications)).sort((a, b) => order(a) - order(b));
  }
}
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
            // Each eviction of a keyspace with watches waits so long.
            JADE_CONFIG: '{"config":{"hibernateAfterSeconds":1},"vectors":{"archiveStore":"r2","hotMiB":1}}',
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
    sequence: { sequencer: LongestFirst },
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
          exclude: SWEEPS,
          testTimeout: 300_000,
        },
      },
      {
        test: {
          name: "simulation-sweeps",
          environment: "node",
          globalSetup: ["./test/wasm.setup.ts"],
          include: SWEEPS,
          testTimeout: 300_000,
          ...WAITING,
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
          ...WAITING,
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
