// The zod schemas of requests: the only source of validation, types and the OpenAPI document.
import { z } from "@hono/zod-openapi";
import {
  KEY_ID_PATTERN,
  MAX_BURST,
  MAX_DISPLAY_NAME_CHARACTERS,
  MAX_KEY_LIFETIME_SECONDS,
  MAX_KEY_NAME_CHARACTERS,
  MAX_KEYS_PER_TENANT,
  MAX_REQUESTS_PER_SECOND,
  TENANT_ID_PATTERN,
} from "../access/limits.ts";
import { CONSISTENCIES } from "../wire/session.ts";

/** Bytes of UTF-8, without encoding. `text` is well formed. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    // A surrogate pair is 2 units and 4 bytes; each half adds one.
    length += code < 0x800 || (code >= 0xd800 && code <= 0xdfff) ? 1 : 2;
  }
  return length;
}

export const consistency = z
  .enum(CONSISTENCIES as ["one", "quorum", "all"])
  .openapi({ description: "How many replicas must answer. Default: the tenant's." });

/** Checked by wire/clock.ts, which answers `malformedClock`: a schema could not say what is wrong with one as well. */
export const vectorClock = z.unknown().openapi({
  type: "object",
  additionalProperties: true,
  description: "Opaque: as an earlier read or write of this key returned it.",
});

/** A key of the store: 1 to `maxKeyBytes` bytes of UTF-8. */
export function keyText(maxKeyBytes: number) {
  return z
    .string()
    .check((context) => {
      const key = context.value;
      const refuse = (message: string, limit?: number): void => {
        context.issues.push({ code: "custom", input: key, message, params: limit === undefined ? {} : { limit } });
      };
      if (key === "") return refuse("must not be empty", 1);
      if (!key.isWellFormed()) return refuse("holds half of a surrogate pair, which is no text in UTF-8");
      if (key.length * 3 <= maxKeyBytes) return;
      const bytes = utf8Length(key);
      if (bytes > maxKeyBytes) refuse(`has ${bytes} bytes of UTF-8, the limit is ${maxKeyBytes}`, maxKeyBytes);
    })
    .openapi({ description: `The key, 1 to ${maxKeyBytes} bytes of UTF-8.`, example: "user:42" });
}

export const tenantId = z
  .string()
  .regex(TENANT_ID_PATTERN, "must be 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit")
  .openapi({ example: "acme" });

const conflictPolicy = z.enum(["siblings", "lastWriteWins", "jsonMerge"]).openapi({
  description: "What a read does with concurrent versions: show all, take the newest, or merge JSON objects.",
});

/** The upper bound depends on the deployment's zones and is checked by the Directory. */
const replicationFactor = z.int("must be a whole number").min(1).max(256).openapi({
  description: "Copies of each key, at most one a zone. Default 3, or the number of zones if that is less.",
});

const isoTime = z.iso.datetime({ offset: true, error: "must be an ISO 8601 time with its zone" });

const displayName = z.string().max(MAX_DISPLAY_NAME_CHARACTERS);

const rateLimit = z
  .strictObject({
    requestsPerSecond: z.int("must be a whole number").min(1).max(MAX_REQUESTS_PER_SECOND),
    burst: z.int("must be a whole number").min(1).max(MAX_BURST).optional().openapi({
      description: "So many at once; at least a second's requests. Default: a second's.",
    }),
  })
  .refine((limit) => limit.burst === undefined || limit.burst >= limit.requestsPerSecond, {
    message: "must be at least requestsPerSecond",
    path: ["burst"],
  })
  .transform((limit) => ({ ...limit, burst: limit.burst ?? limit.requestsPerSecond }))
  .nullable()
  .openapi({ description: "Requests and operations a second. null: the deployment's default." });

const quota = (description: string, most = Number.MAX_SAFE_INTEGER) =>
  z.int("must be a whole number").min(0).max(most).nullable().optional().openapi({ description });

const quotas = z
  .strictObject({
    storedBytes: quota("Bytes of keys and values, of one copy."),
    keys: quota("Keys of the key-value store."),
    apiKeys: quota("API keys; revoked ones count for 30 days.", MAX_KEYS_PER_TENANT),
  })
  .openapi({ description: "Most that the tenant may hold. null: no bound. Not given: the deployment's default." });

const tenantSettings = {
  replicationFactor: replicationFactor.optional(),
  defaultConsistency: consistency.optional(),
  conflictPolicy: conflictPolicy.optional(),
  displayName: displayName.optional(),
  rateLimit: rateLimit.optional(),
  quotas: quotas.optional(),
};

export const newTenantBody = z.strictObject({ tenantId, ...tenantSettings });
export const tenantChangesBody = z.strictObject({
  ...tenantSettings,
  tokensValidAfter: isoTime.nullable().optional().openapi({
    description: "Signed tokens issued before this time are refused: revokes all that are out. null: none is.",
  }),
});
export const tenantParams = z.strictObject({ id: tenantId });
export const keyParams = z.strictObject({
  id: tenantId,
  key: z.string().regex(KEY_ID_PATTERN, "must be a key id: 16 hex digits"),
});

export const newKeyBody = z
  .strictObject({
    name: z.string().max(MAX_KEY_NAME_CHARACTERS).default(""),
    scope: z.enum(["read-only", "read-write", "admin"]).default("read-write"),
    expiresInSeconds: z.int("must be a whole number").min(1).max(MAX_KEY_LIFETIME_SECONDS).optional(),
    expiresAt: isoTime.optional(),
    rateLimit: rateLimit.optional(),
  })
  .refine((body) => body.expiresInSeconds === undefined || body.expiresAt === undefined, {
    message: "give expiresAt or expiresInSeconds, not both",
    path: ["expiresAt"],
  });

const shownRateLimit = z.object({ requestsPerSecond: z.number(), burst: z.number() }).nullable();

const replicationFactorChange = z
  .object({
    from: z.number(),
    to: z.number(),
    phase: z.enum(["starting", "filling", "joint", "ending"]),
    isCancelled: z.boolean(),
    startedAt: z.string(),
    nodesDone: z.number(),
    nodeCount: z.number(),
    rowsCompared: z.number(),
    rowsRepaired: z.number(),
    recordsTaken: z.number(),
    waitingFor: z.string(),
  })
  .nullable()
  .openapi({
    description:
      "A change of the replication factor under way, with its progress; null when there is none. Setting replicationFactor back to `from` calls it off.",
  });

export const tenantShape = z.object({
  tenantId,
  replicationFactor,
  replicationFactorChange,
  defaultConsistency: consistency,
  conflictPolicy,
  displayName,
  createdAt: z.string(),
  rateLimit: shownRateLimit,
  quotas: z.record(z.string(), z.number().nullable()),
  tokensValidAfter: z.string().nullable(),
});
export const usageShape = z.object({
  storedBytes: z.number(),
  keys: z.number(),
  config: z.object({ storedBytes: z.number(), keys: z.number() }),
  apiKeys: z.number(),
  quotas: z.object({
    storedBytes: z.number().nullable(),
    keys: z.number().nullable(),
    apiKeys: z.number().nullable(),
  }),
});
export const createdTenantShape = tenantShape.extend({ keyId: z.string(), apiKey: z.string() });
export const keyShape = z.object({
  keyId: z.string(),
  name: z.string(),
  scope: z.string(),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
  rateLimit: shownRateLimit,
});
export const createdKeyShape = keyShape.extend({ apiKey: z.string() });
export const nodeShape = z.object({
  nodeId: z.string(),
  zone: z.string(),
  weight: z.number(),
  state: z.string(),
  incarnation: z.number(),
});
export const pageShape = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), cursor: z.string().nullable() });
