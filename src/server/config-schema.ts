// The configuration file's schema (jade.yaml): the Worker's settings plus what only the server reads.
// Guarantees: the one source of validation, defaults, `--check` and docs/configuration.md. Unknown fields are errors.
// Must not: read files or the environment (that is load-config.ts).

import { z } from "zod";
import { type Settings, settingsParts } from "../cluster/settings.ts";
import { isLoopback } from "./port.ts";
import { MAX_FRONTS } from "./watch/limits.ts";

const server = z.strictObject({
  host: z
    .string()
    .min(1)
    .max(255)
    .default("127.0.0.1")
    .describe("Address to listen on. Anything but loopback needs `--insecure-public-http`: put TLS in front."),
  port: z.int().min(0).max(65_535).default(8787).describe("Port to listen on; 0 takes a free one and prints it."),
  publicUrl: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("How clients reach the server, when a proxy stands in front. Only printed."),
  watchPort: z
    .int()
    .min(0)
    .max(65_535)
    .optional()
    .describe(
      "Port on `server.host` where processes of their own hold watch connections (`/v1/config/watch` over WebSocket), following each keyspace over one connection a token. 0 takes a free one. None given: no such processes.",
    ),
  watchFronts: z
    .int()
    .min(1)
    .max(MAX_FRONTS)
    .default(1)
    .describe("How many such processes share the port. Each holds as many connections as it may open files, less 700."),
});

const storage = settingsParts.storage.safeExtend({
  dataDir: z
    .string()
    .min(1)
    .max(4096)
    .default("./data")
    .describe("Where everything is kept. Relative to the directory the server is started in."),
  blobStore: z
    .enum(["sqlite", "disk", "r2"])
    .default("sqlite")
    .describe("Where tables are kept: `sqlite` rows, files on `disk`, or `r2` (Cloudflare only: `serve` refuses it)."),
});

const file = z.string().min(1).max(4096).optional();

const etcd = z
  .strictObject({
    allowAnonymous: z
      .boolean()
      .optional()
      .describe(
        "Whether requests of etcd's API without credentials are served, as the tenant `default`. Default: where `server.host` is loopback and there is no `server.publicUrl`.",
      ),
    grpcPort: z
      .int()
      .min(0)
      .max(65_535)
      .optional()
      .describe("Port of native gRPC on `server.host`; etcd's is 2379. 0 takes a free one. None given: no gRPC."),
    grpcCert: file.describe("Certificate of the gRPC listener, a PEM file. None given: no TLS."),
    grpcKey: file.describe("Its private key, a PEM file."),
    grpcClientCa: file.describe("Clients must show a certificate signed by this one, a PEM file."),
  })
  .check((context) => {
    const { grpcPort, grpcCert, grpcKey, grpcClientCa } = context.value;
    const refuse = (field: string, input: unknown, message: string): void => {
      context.issues.push({ code: "custom", path: [field], input, message });
    };
    if (grpcPort === undefined && grpcCert !== undefined) refuse("grpcCert", grpcCert, "needs grpcPort");
    if (grpcCert !== undefined && grpcKey === undefined) refuse("grpcKey", grpcKey, "is missing: grpcCert needs it");
    if (grpcCert !== undefined) return;
    for (const [field, value] of Object.entries({ grpcKey, grpcClientCa }))
      if (value !== undefined) refuse(field, value, "needs grpcCert");
  });

/** What jade.yaml may hold. */
export const configSchema = z.strictObject({
  server: server.prefault({}).describe("Where the server listens."),
  storage: storage.prefault({}).describe("What is kept, and where."),
  log: settingsParts.log.prefault({}).describe("What is logged, as JSON lines on stdout."),
  limits: settingsParts.limits
    .prefault({})
    .describe("Bounds of requests. They can be lowered, not raised above the product's limits."),
  keyValue: settingsParts.keyValue.prefault({}).describe("The key-value store."),
  config: settingsParts.config.prefault({}).describe("The configuration store."),
  auth: settingsParts.auth.prefault({}).describe("Authentication."),
  etcd: etcd.prefault({}).describe("etcd's API: `/v3` and gRPC."),
  vectors: settingsParts.vectors.prefault({}).describe("Vector databases."),
  embedding: settingsParts.embedding.prefault({}).describe("Texts to vectors."),
  webhooks: settingsParts.webhooks.prefault({}).describe("Webhooks of the configuration store."),
});

/** The whole configuration, resolved: no optional field is missing but `publicUrl`. */
export type Config = z.output<typeof configSchema>;

/** Nobody else reaches the server, as far as its configuration tells. */
function isPrivate({ server: { host, publicUrl } }: Config): boolean {
  return isLoopback(host) && publicUrl === undefined;
}

/** The part that the Worker is given as `JADE_CONFIG`: no paths, no addresses. */
export function workerSettings(config: Config): Settings {
  const { dataDir: _, ...storageSettings } = config.storage;
  const { log, limits, keyValue, config: configuration, auth, vectors, embedding, webhooks } = config;
  const etcd = { allowAnonymous: config.etcd.allowAnonymous ?? isPrivate(config) };
  return {
    storage: storageSettings,
    log,
    limits,
    keyValue,
    config: configuration,
    auth,
    etcd,
    vectors,
    embedding,
    webhooks,
  };
}
