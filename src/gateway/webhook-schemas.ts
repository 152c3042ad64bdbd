// The zod schemas of /v1/webhooks.
import { z } from "@hono/zod-openapi";
import { DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS } from "../access/limits.ts";
import { MAX_DEAD_LETTERS, MAX_WEBHOOK_BATCH_EVENTS, MAX_WEBHOOK_URL_CHARACTERS } from "../config/limits.ts";
import { KEY_ENCODINGS, key, namespaceName, pageOfShape } from "./config-schemas.ts";

const whole = (least: number, most: number) => z.int("must be a whole number").min(least).max(most);
const revision = z.int("must be a whole number").min(1);

const target = {
  url: z.string().max(MAX_WEBHOOK_URL_CHARACTERS).openapi({
    description: "Where requests go: https or http, no private address.",
    example: "https://example.com/hook",
  }),
  maxAttempts: whole(1, 1000).openapi({ description: "Attempts before a request is a dead letter. Default: 20." }),
  maxAgeSeconds: whole(1, 30 * 86_400).openapi({
    description: "How long after its first attempt a request is one. Default: a day.",
  }),
  onDeadLetter: z.enum(["pause", "skip"]).openapi({ description: "What a dead letter does. Default: pause." }),
  batchEvents: whole(1, MAX_WEBHOOK_BATCH_EVENTS).openapi({ description: "Most events of one request. Default: 100." }),
  timeoutMs: whole(100, 60_000).openapi({ description: "How long an answer is waited for. Default: 10000." }),
  retryBaseMs: whole(10, 60_000).openapi({
    description: "Longest pause after the first failure; it doubles, to ten minutes. Default: 1000.",
  }),
};
const secret = z
  .string()
  .max(200)
  .openapi({ description: "`whsec_` and base64 of 24 to 64 bytes. Default: one is made, and shown this once." });

export const noQuery = z.strictObject({});
export const webhookParams = z.strictObject({
  id: z.string().regex(/^wh_[0-9a-f]{16}$/, "must be wh_ and 16 hex digits"),
});
export const newWebhookBody = z.strictObject({
  namespace: namespaceName.default("default"),
  key: key.optional(),
  prefix: z.string().optional().openapi({ description: "Keys that begin with this; empty: all keys." }),
  start: z.string().optional().openapi({ description: "Keys from this one on." }),
  end: z.string().optional().openapi({ description: "Keys before this one." }),
  keyEncoding: z.enum(KEY_ENCODINGS).default("utf8"),
  events: z
    .array(z.enum(["put", "delete"]))
    .min(1)
    .max(2)
    .default(["put", "delete"]),
  startRevision: revision.optional().openapi({ description: "Default: what changes from now on." }),
  secret: secret.optional(),
  ...target,
  maxAttempts: target.maxAttempts.default(20),
  maxAgeSeconds: target.maxAgeSeconds.default(86_400),
  onDeadLetter: target.onDeadLetter.default("pause"),
  batchEvents: target.batchEvents.default(100),
  timeoutMs: target.timeoutMs.default(10_000),
  retryBaseMs: target.retryBaseMs.default(1000),
});
export const webhookChangesBody = z.strictObject({
  ...z.object(target).partial().shape,
  state: z.enum(["active", "paused"]).optional().openapi({
    description: "active: goes on, with all attempts anew; what failed last is sent again.",
  }),
  skipDeadLetter: z.literal(true).optional().openapi({ description: "Goes on behind the dead letter instead." }),
  rotateSecret: z.literal(true).optional().openapi({
    description: "Makes a new secret and shows it; for a day requests carry the old one's signature too.",
  }),
  secret: secret.optional(),
});
export const replayBody = z.strictObject({ fromRevision: revision });
export const listQuery = z.strictObject({
  limit: whole(1, MAX_PAGE_ITEMS).default(DEFAULT_PAGE_ITEMS).openapi({ description: "Items a page." }),
  cursor: z.string().optional().openapi({ description: "The `cursor` of the page before." }),
});

const number = z.number();
const time = z.string();
const webhookFields = {
  ...{ id: z.string(), namespace: z.string(), key: z.string().optional(), keyEncoding: z.literal("base64").optional() },
  ...{ prefix: z.string().optional(), start: z.string().optional(), end: z.string().optional() },
  events: z.array(z.enum(["put", "delete"])),
  ...target,
  state: z.enum(["active", "paused"]),
  pauseReason: z.enum(["asked", "deadLetter", "gone", "compacted"]).optional(),
  nextRevision: number.openapi({ description: "Everything before it was acknowledged, or is a dead letter." }),
  attempts: number.openapi({ description: "Failed attempts of the request under way." }),
  nextAttemptAt: time.optional(),
  lastError: z.string().optional(),
  lastDeliveredAt: time.optional(),
  compactedRevision: number.optional(),
  deadLetters: number.openapi({ description: `Kept ones; of more than ${MAX_DEAD_LETTERS} the newest.` }),
  oldSecretValidUntil: time.optional(),
  createdAt: time,
};
export const webhookShape = z.object(webhookFields);
export const changedWebhookShape = z.object({ ...webhookFields, secret: z.string().optional() });
export const deletedWebhookShape = z.object({ id: z.string() });
export const webhooksShape = pageOfShape(webhookShape);
export const deadLettersShape = pageOfShape(
  z.object({
    ...{ id: z.string(), fromRevision: number, toRevision: number, eventCount: number },
    events: z.array(z.object({ id: z.string(), type: z.enum(["put", "delete"]), key: z.string() })),
    ...{ attempts: number, error: z.string(), firstAttemptAt: time, at: time },
  }),
);
