// The configuration file's schema (jade.yaml): the Worker's settings plus what only the server reads.
// Guarantees: the one source of validation, defaults, `--check` and docs/configuration.md. Unknown fields are errors.
// Must not: read files or the environment (that is load-config.ts).

import { z } from "zod";
import { type Settings, settingsParts } from "../cluster/settings.ts";
import { isLoopback } from "./port.ts";
import { MAX_FRONTS } from "./watch/limits.ts";

const file = z.string().min(1).max(4096).optional();

const server = z.strictObject({
  host: z
    .string()
    .min(1)
    .max(255)
    .default("127.0.0.1")
    .describe("Address to listen on. Anything but loopback needs `server.tlsCert`, or `--insecure-public-http`."),
  port: z.int().min(0).max(65_535).default(8787).describe("Port to listen on; 0 takes a free one and prints it."),
  tlsCert: file.describe(
    "Certificate with its chain, a PEM file: `server.port`, and all other ports for clients, speak TLS. Both files are read again when they change. None given: plain HTTP.",
  ),
  tlsKey: file.describe("Its private key, a PEM file without a password."),
  sharedPort: z
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe(
      "In a cluster: a port on `server.host` that all instances of this host listen on together; the kernel spreads connections over them. `server.port` stays each one's own.",
    ),
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
  watchMaxConnections: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .describe("Watch connections that one such process holds at most; 0 = what its open files allow."),
  watchMaxPerKey: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .describe("Of these, connections with one API key or token to one namespace; 0 = as many as it holds."),
  watchMaxUnreadMiB: z
    .int()
    .min(8)
    .max(65_536)
    .default(256)
    .describe(
      "What all clients of one such process may leave unread. Beyond it those that are behind wait, and catch up later. MiB.",
    ),
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
    grpcCert: file.describe("Certificate of the gRPC listener, a PEM file. None given: that of `server.tlsCert`."),
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

/** Where processes of a cluster listen for each other. */
const address = z.string().min(1).max(255);

const cluster = settingsParts.cluster
  .safeExtend({
    bucket: z
      .string()
      .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]+\/[A-Za-z0-9._/-]+$/, "must be s3://bucket/prefix")
      .optional()
      .describe(
        "The bucket that the instances share, as `s3://bucket/prefix`. Given: this is an instance of a cluster. Its endpoint, region and credentials come from the environment (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, …).",
      ),
    zone: z
      .string()
      .regex(/^z[1-9][0-9]?$/, "must be one of z1, z2, …")
      .default("z1")
      .describe("This instance's zone. There is one instance a zone."),
    peers: z
      .record(z.string(), address)
      .default({})
      .describe(
        "Where each zone's instance listens for the others' calls, this one's included: `unix:/path` on one machine, else `host:port` (TLS, by the cluster's key). The zones are z1 to zN.",
      ),
    firstZones: z
      .int()
      .min(1)
      .max(99)
      .optional()
      .describe(
        "Zones that the deployment began with, once `peers` names more: by it the first storage nodes are found where `storage.nodes` is more than that. Default: as many as `peers`.",
      ),
    listen: address
      .optional()
      .describe(
        "Where this instance itself listens for the others' calls, where that is not what `cluster.peers` names for it: `0.0.0.0:8700` in a container that the others know by a name.",
      ),
    address: address
      .default("127.0.0.1:0")
      .describe("Where the leaders' process listens for those of other instances. A private network: not encrypted."),
    privateNetwork: z
      .boolean()
      .default(false)
      .describe(
        "Says that only the cluster's machines reach `address` and the way to the bucket (a VPC, WireGuard): without it `address` must be loopback, and the bucket https or loopback.",
      ),
    advertise: address
      .optional()
      .describe("How other instances reach `address`, where that is a wildcard or not what they can reach."),
  })
  .check((context) => {
    const { bucket, zone, peers } = context.value;
    if (bucket === undefined) return;
    const zones = Object.keys(peers);
    const named = zones.map((_, index) => `z${index + 1}`);
    const missing = named.find((name) => !zones.includes(name));
    const other = zones.find((name) => !named.includes(name)) ?? "";
    const message =
      zones.length === 0
        ? "is empty: name every zone's instance, this one's included"
        : missing === undefined
          ? !zones.includes(zone) && `has no entry for this instance's zone ${zone}`
          : `has ${other}, but not ${missing}: ${zones.length} zones are named z1 to z${zones.length}`;
    if (message) context.issues.push({ code: "custom", path: ["peers"], input: peers, message });
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
  cluster: cluster.prefault({}).describe("An instance of a cluster (docs/cluster.md)."),
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
  // A zone each, and at least one storage node a zone.
  const zones = config.cluster.firstZones ?? Object.keys(config.cluster.peers).length;
  const ring = config.cluster.bucket === undefined ? {} : { zones, nodes: Math.max(zones, storageSettings.nodes) };
  return {
    storage: { ...storageSettings, ...ring },
    log,
    limits,
    keyValue,
    config: configuration,
    auth,
    etcd,
    vectors,
    embedding,
    webhooks,
    cluster: settingsParts.cluster.strip().parse(config.cluster),
  };
}
