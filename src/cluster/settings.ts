// The settings a Worker runs by: one zod schema for their types, their defaults and their bounds.
// Guarantees: `parseSettings` gives a fully resolved object or throws one error that lists every wrong field; missing = default.
// Must not: import Node or `cloudflare:workers` (gateway, objects, server and tests all read it), nor hold secrets or paths.

import { z } from "zod";
import { MAX_BURST, MAX_REQUESTS_PER_SECOND, TENANT_ID_PATTERN } from "../access/limits.ts";
import { parseNetwork } from "../wire/networks.ts";
import { REPLACE_POLICIES } from "./absences.ts";
import { REBALANCE_POLICIES } from "./rebalance.ts";
import { tokenIssuers } from "./token-issuer.ts";

const MIB = 1024 * 1024;

/** Bindings of the Workers, and what the server keeps for itself. */
const RESERVED_BINDINGS = /^(JADE_|MODEL_RUNNER$|EMBEDD|BLOB|AI$)/;
/** How bindings of secrets are named. */
const SECRET_NAME = /^[A-Z][A-Z0-9_]{0,63}$/;

const whole = (min: number, max: number) => z.int().min(min).max(max);

export const logLevels = ["debug", "info", "warn", "error", "off"] as const;
export const consistencies = ["one", "quorum", "all"] as const;
export const blobStores = ["sqlite", "disk", "r2"] as const;

const storage = z
  .strictObject({
    zones: whole(1, 16)
      .default(3)
      .describe("Zones. On a single machine they are virtual: replication runs, but protects nothing."),
    nodes: whole(1, 256).default(3).describe("Storage nodes of the ring at first start, spread evenly over the zones."),
    memtableMiB: whole(1, 256)
      .default(32)
      .describe("Newest rows of one storage node held in memory before a flush to a table."),
    rowCacheMiB: whole(0, 4096).default(16).describe("Recently read rows held in memory, for each storage node."),
    blockCacheMiB: whole(1, 4096).default(128).describe("Blocks of tables held in memory, for each storage node."),
    blobStore: z
      .enum(blobStores)
      .default("sqlite")
      .describe("Where tables are kept: `sqlite` rows, files on `disk`, or `r2` (Cloudflare only)."),
    scrubDays: whole(0, 365)
      .default(14)
      .describe(
        "Every block of every table is read and checked at least once in so many days, at 8 MiB/s at most. 0 = never.",
      ),
  })
  .check((context) => {
    const { zones, nodes } = context.value;
    if (nodes >= zones) return;
    context.issues.push({
      code: "custom",
      path: ["nodes"],
      input: nodes,
      message: `${nodes} storage nodes cannot fill ${zones} zones: use at least one node a zone`,
    });
  });

const log = z.strictObject({
  level: z.enum(logLevels).default("info").describe("Least severe log line that is written."),
  requests: z
    .boolean()
    .default(false)
    .describe("One structured line for each HTTP request, at level `info`. `/metrics` counts them either way."),
});

const perSecond = whole(0, MAX_REQUESTS_PER_SECOND).default(0);
const burst = whole(0, MAX_BURST).default(0);

const limits = z
  .strictObject({
    maxKeyBytes: whole(1, 1024).default(1024).describe("Longest key, in bytes of UTF-8."),
    maxValueBytes: whole(1, MIB).default(MIB).describe("Largest value, in bytes of its JSON text."),
    maxBatchBytes: whole(1024, 32 * MIB)
      .default(32 * MIB)
      .describe("Largest body of a batch request."),
    maxBatchOperations: whole(1, 10_000).default(1000).describe("Most operations in one batch request."),
    maxSessions: whole(1, 100_000)
      .default(10_000)
      .describe("WebSocket sessions open at once in one instance: 90 KB of memory each. Beyond it 503."),
    maxSessionsPerTenant: whole(1, 100_000).default(5000).describe("Of them, those of one tenant. Beyond it 429."),
    maxRequestsInFlight: whole(1, 100_000)
      .default(2000)
      .describe("HTTP requests under way at once in one gateway. Beyond it 503."),
    maxBodyMiBInFlight: whole(1, 4096)
      .default(128)
      .describe("Bodies of the HTTP requests under way in one gateway. Beyond it 503. At least twice maxBatchBytes."),
    tenantRequestsPerSecond: perSecond.describe(
      "Requests and operations a second of a tenant that has no limit of its own. 0: unlimited.",
    ),
    tenantBurst: burst.describe("So many of them at once. At least a second's; 0: a second's."),
    keyRequestsPerSecond: perSecond.describe("The same for an API key that has no limit of its own."),
    keyBurst: burst.describe("So many of them at once."),
    tenantStoredMiB: whole(0, 1_000_000_000)
      .default(0)
      .describe("Keys and values that a tenant without a quota of its own may store, of one copy. 0: no bound."),
    tenantKeys: whole(0, 1_000_000_000_000)
      .default(0)
      .describe("Keys that a tenant without a quota of its own may store. 0: no bound."),
  })
  .check((context) => {
    const { value } = context;
    const refuse = (field: keyof typeof value, message: string): void => {
      context.issues.push({ code: "custom", path: [field], input: value[field], message });
    };
    for (const whose of ["tenant", "key"] as const) {
      const [rate, most] = [value[`${whose}RequestsPerSecond`], value[`${whose}Burst`]];
      if (most !== 0 && most < rate) refuse(`${whose}Burst`, `${most} is less than a second's requests (${rate})`);
    }
    if (value.maxBodyMiBInFlight * MIB < 2 * value.maxBatchBytes) {
      refuse("maxBodyMiBInFlight", `${value.maxBodyMiBInFlight} MiB do not hold two batches of maxBatchBytes`);
    }
  });

const keyValue = z
  .strictObject({
    defaultConsistency: z.enum(consistencies).default("quorum").describe("Used when neither request nor tenant says."),
    hintTtlSeconds: whole(60, 30 * 86_400)
      .default(3 * 3600)
      .describe("How long a write for an unreachable replica is kept for it. Less than half of tombstoneGraceSeconds."),
    tombstoneGraceSeconds: whole(600, 365 * 86_400)
      .default(10 * 86_400)
      .describe("How long the mark of a deletion is kept at least; it goes after a full repair."),
    repairIntervalSeconds: whole(0, 365 * 86_400)
      .default(5 * 86_400)
      .describe(
        "How often all replicas are compared by themselves; 0 = never. Deleted keys' rows go after such repairs.",
      ),
    compareIntervalSeconds: whole(0, 365 * 86_400)
      .default(6 * 3600)
      .describe(
        "How often replicas compare by themselves what was written since (an incremental repair), one storage node after the other; 0 = never.",
      ),
    repairKeysPerSecond: whole(0, 10_000_000)
      .default(50_000)
      .describe("Rows that each node reads in a second for repairs, full and incremental; 0 = as many as it can."),
    ringGraceSeconds: whole(0, 30 * 86_400)
      .default(600)
      .describe("How long after a change of the storage nodes the former replicas keep their copies."),
    ringStallSeconds: whole(10, 86_400)
      .default(1800)
      .describe("A change of the storage nodes that makes no progress for so long is called off."),
    ringKeysPerSecond: whole(0, 10_000_000)
      .default(0)
      .describe("Keys that each node compares in a second while storage nodes change; 0 = as many as it can."),
    idempotencyRetentionHours: whole(24, 24 * 30)
      .default(24)
      .describe("How long a repeated Idempotency-Key still gets the first answer."),
    replicaTimeoutMs: whole(10, 60_000).default(1000).describe("Deadline of one call to one replica."),
  })
  .check((context) => {
    const { hintTtlSeconds, tombstoneGraceSeconds } = context.value;
    if (hintTtlSeconds * 2 < tombstoneGraceSeconds) return;
    context.issues.push({
      code: "custom",
      path: ["hintTtlSeconds"],
      input: hintTtlSeconds,
      message: `${hintTtlSeconds} is not less than half of tombstoneGraceSeconds (${tombstoneGraceSeconds}): a late hint could bring back deleted data`,
    });
  });

const auth = z.strictObject({
  staleTenantViewMinutes: whole(1, 24 * 60)
    .default(15)
    .describe("How long known API keys are still accepted while the tenant's owner cannot be reached."),
  tokenIssuers: tokenIssuers.describe(
    "Who may issue signed tokens (JWT) for tenants, beside API keys. Default: nobody.",
  ),
  tokenClockToleranceSeconds: whole(0, 60)
    .default(5)
    .describe("How far an issuer's clock may be off: added to `exp`, taken from `nbf` and `iat`."),
  tokenKeysRefreshSeconds: whole(10, 86_400)
    .default(300)
    .describe("How old an issuer's keys may get: within it, a key that the issuer took out is refused."),
  tokenKeysStaleMinutes: whole(1, 7 * 24 * 60)
    .default(60)
    .describe("How long the last keys are still used while an issuer does not give them."),
});

const config = z.strictObject({
  keepHistoryHours: whole(0, 24 * 365)
    .default(24)
    .describe(
      "How far back a keyspace can be read and watched; older history is compacted unasked. 0: no bound by age.",
    ),
  keepRevisions: whole(0, 1_000_000_000)
    .default(1_000_000)
    .describe("How many revisions back a keyspace can be read and watched. 0: no bound by number."),
  serveFromFollowers: z
    .boolean()
    .default(false)
    .describe(
      "Answers serializable reads and serves watches from a copy in the zone instead of the owner. On a single machine it only costs.",
    ),
  cacheMiB: whole(0, 4096)
    .default(64)
    .describe("Keys and values read or written last held in memory, for each keyspace."),
  hibernateAfterSeconds: whole(1, 86_400)
    .default(60)
    .describe(
      "A keyspace that nobody writes to for so long may sleep with its watch connections open. It looks at their keys again before it tells them anything.",
    ),
  maxWatchConnections: whole(1, 100_000)
    .default(10_000)
    .describe("Connections that watch one keyspace, each of any number of watches: 90 KB of memory. Beyond it 503."),
});

const etcd = z.strictObject({
  allowAnonymous: z
    .boolean()
    .default(false)
    .describe("Whether requests of etcd's API without credentials are served, as the tenant `default`."),
});

const vectors = z.strictObject({
  memoryMiB: whole(8, 4000)
    .default(1024)
    .describe(
      "Memory of one shard of a vector database for what is not sealed yet and for its indexes. Beyond it writes are refused (507). On Cloudflare an isolate has 128 MB for all of its objects: 64 or less.",
    ),
  storedMiB: whole(0, 16_000_000)
    .default(0)
    .describe(
      "Disk of one shard of a vector database. Beyond it writes are refused (507) until enough is deleted. 0: no limit. On Cloudflare an object holds 10 GB: 9000 or less.",
    ),
  archiveStore: z
    .enum(["none", "disk", "r2"])
    .default("none")
    .describe(
      "Where the segments of archived databases go: `none` (they stay in their shard's SQLite), files on `disk`, or `r2` (Cloudflare only: `serve` refuses it).",
    ),
  coldAfterHours: whole(0, 87_600)
    .default(0)
    .describe(
      "Values of a segment of vectors that nobody read for so long leave their shard for `vectors.archiveStore`, and are read from there; ids, metadata and indexes stay. 0: none leave for their age.",
    ),
  hotMiB: whole(0, 16_000_000)
    .default(0)
    .describe(
      "Values of vectors that one shard keeps in its own storage where `vectors.archiveStore` is set: beyond it those leave that were read longest ago. 0: all stay.",
    ),
  copyMiBPerSecond: whole(0, 100_000)
    .default(32)
    .describe(
      "Where a copy of a shard of vectors is made in another zone while the others serve, it takes so much of the shard's segments a second at most. 0: as much as it can.",
    ),
  reshardSkew: z
    .union([z.literal(0), z.number().min(1.1).max(64)])
    .default(1.5)
    .describe(
      "Where vectors are sharded by ranges or centroids, and a shard holds more of them than this times the mean, where they belong is learned again and they are moved, unasked. 0: only when asked.",
    ),
  resultCacheMiB: whole(0, 1024)
    .default(4)
    .describe(
      "Memory of one shard of a vector database for the results of its last searches, which the next write makes it forget. 0: none are remembered.",
    ),
});

const networks = z
  .array(
    z
      .string()
      .max(64)
      .refine((text) => parseNetwork(text) !== undefined, "must be an address or a network such as 10.1.0.0/16"),
  )
  .max(100)
  .default([]);

const providerSecret = z.strictObject({
  name: z
    .string()
    .regex(SECRET_NAME, "must be A-Z, 0-9 and _, beginning with a letter")
    .refine((name) => !RESERVED_BINDINGS.test(name), "is a name of the server's own")
    .describe("The environment variable, or on Cloudflare the secret, that holds the key."),
  url: z
    .url({ protocol: /^https?$/ })
    .max(2000)
    .describe("What it may be sent to: addresses of this origin, at or below this path."),
});

const embedding = z.strictObject({
  memoryMiB: whole(8, 4000)
    .default(512)
    .describe(
      "Embedding models held in memory by the embedder's Worker; those used last stay. On Cloudflare an isolate has 128 MB: 64 or less.",
    ),
  maxWaitingTexts: whole(1, 100_000)
    .default(4096)
    .describe("Texts of one tenant that wait for their vectors. Beyond it 503 with `Retry-After`."),
  allowedNetworks: networks.describe(
    "Private, local or reserved networks whose endpoints remote models may be at all the same, as addresses or in CIDR form. Default: none.",
  ),
  secrets: z
    .array(providerSecret)
    .max(20)
    .default([])
    .describe(
      "Keys of remote models' providers, by name: tenants' models name them, and nobody is shown them. Every tenant may use each. Default: none.",
    ),
});

const webhooks = z.strictObject({
  allowedNetworks: networks.describe(
    "Private, local or reserved networks whose receivers webhooks may reach all the same, as addresses or in CIDR form. Default: none.",
  ),
});

const cluster = z.strictObject({
  replaceAfterSeconds: whole(0, 365 * 86_400)
    .default(0)
    .describe(
      "How long an instance must have failed, in the eyes of most others, before something is due about its storage nodes. 0 = never.",
    ),
  replacePolicy: z
    .enum(REPLACE_POLICIES)
    .default("observe")
    .describe(
      "What is done then: `observe` notes an event (`GET /v1/cluster/events`), `dry-run` also what replacing the nodes would move, `act` removes them from the ring, so that other instances take their ranges.",
    ),
  rebalancePolicy: z
    .enum(REBALANCE_POLICIES)
    .default("off")
    .describe(
      "What is done where a storage node holds more than its share: nothing, an event that says what would be done (`dry-run`), or one node after the other gets another weight (`act`).",
    ),
  rebalanceAbove: z
    .number()
    .min(1.05)
    .max(10)
    .default(1.3)
    .describe("How many times its share a node may hold, by its weight, before something is due."),
  rebalanceEverySeconds: whole(1, 86_400).default(600).describe("Time between two looks at what storage nodes hold."),
  rebalanceKeysPerSecond: whole(1, 10_000_000)
    .default(5000)
    .describe("Keys that each node compares in a second at most while a node is re-weighed by itself."),
  rebalanceLeastMiB: whole(0, 1_000_000_000)
    .default(64)
    .describe("With less than this on all storage nodes together nothing is due."),
  eventsTenant: z
    .string()
    .refine((id) => id === "" || TENANT_ID_PATTERN.test(id), "must be the id of a tenant, or empty")
    .default("")
    .describe(
      "A tenant in whose configuration (namespace `default`) each event of the cluster is a key below `cluster/events/`, so that watches and webhooks tell of it. Empty = none.",
    ),
});

/** The parts of {@link settingsSchema} by name, so that the configuration file can extend them with what only the server reads. */
export const settingsParts = {
  storage,
  log,
  limits,
  keyValue,
  config,
  auth,
  etcd,
  vectors,
  embedding,
  webhooks,
  cluster,
};

/** What `JADE_CONFIG` holds as JSON. Every field may be missing; unknown fields are errors. */
export const settingsSchema = z.strictObject({
  storage: storage.prefault({}),
  log: log.prefault({}),
  limits: limits.prefault({}),
  keyValue: keyValue.prefault({}),
  config: config.prefault({}),
  auth: auth.prefault({}),
  etcd: etcd.prefault({}),
  vectors: vectors.prefault({}),
  embedding: embedding.prefault({}),
  webhooks: webhooks.prefault({}),
  cluster: cluster.prefault({}),
});

/** Fully resolved settings: no field is missing. */
export type Settings = z.output<typeof settingsSchema>;

/** Settings as someone may write them: every field optional. */
export type SettingsInput = z.input<typeof settingsSchema>;

/** Thrown by {@link parseSettings}; the message names each wrong field with its value's problem. */
export class InvalidSettings extends Error {
  override readonly name = "InvalidSettings";
}

/** Everything at its default. */
export const defaultSettings: Settings = settingsSchema.parse({});

/**
 * Resolves the text of the binding `JADE_CONFIG`.
 * @param json undefined or empty = all defaults.
 * @throws InvalidSettings when it is not JSON or breaks the schema.
 */
export function parseSettings(json: string | undefined): Settings {
  if (json === undefined || json === "") return defaultSettings;
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (cause) {
    throw new InvalidSettings("JADE_CONFIG is not JSON", { cause });
  }
  const result = settingsSchema.safeParse(raw);
  if (result.success) return result.data;
  const list = result.error.issues.map((issue) => `${issue.path.join(".") || "(top)"}: ${issue.message}`);
  throw new InvalidSettings(`JADE_CONFIG: ${list.join("; ")}`);
}
