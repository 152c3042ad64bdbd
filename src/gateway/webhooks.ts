// /v1/webhooks: subscriptions that have a namespace's changes sent to a URL.
// Guarantees: only a tenant's admin keys see or change them (a URL may hold a secret); a subscription is its tenant's alone.
import type { Mutation, RpcResult } from "../../objects/tenancy-rpc.ts";
import { unwrap } from "../../objects/tenancy-rpc.ts";
import type { WebhookChanges, WebhookInfo } from "../../objects/webhook-rpc.ts";
import { hexOf, sha256Hex } from "../access/api-key.ts";
import { parseSecret } from "../config/webhook-signature.ts";
import { urlProblem } from "../config/webhook-url.ts";
import { PublicError } from "../wire/error-codes.ts";
import { parseNetwork } from "../wire/networks.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import { callConfig, type KeyspaceName } from "./config-call.ts";
import { type RawObject, rangeFrom } from "./config-fields.ts";
import { CONFIG_WRITE_ERRORS, configRoute } from "./config-route.ts";
import { afterCursor, pageOf } from "./cursor.ts";
import { reading, writing } from "./errors.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { DESCRIBE_AT_ONCE } from "./limits.ts";
import type { Route } from "./route.ts";
import * as schemas from "./webhook-schemas.ts";
import { shownDeadLetter, shownWebhook } from "./webhook-shown.ts";

const PATH = "/v1/webhooks";
const ONE = `${PATH}/{id}`;
const decoder = new TextDecoder();

const idOf = (params: Readonly<Record<string, string>>): string => parseWith(schemas.webhookParams, params).id;

async function mutationOf(call: Call, raw: RawObject): Promise<Mutation> {
  const text = `${call.request.method}\0${call.path}\0${decoder.decode(raw.bytes)}`;
  return { writeId: call.writeId!, bodyHash: await sha256Hex(text) };
}

function requireUrl(call: Call, url: string | undefined): void {
  if (url === undefined) return;
  const allowed = call.services.settings.webhooks.allowedNetworks.map((text) => parseNetwork(text)!);
  const message = urlProblem(url, allowed);
  if (message) throw invalidRequest([{ path: "url", message, value: url }]);
}

function requireSecret(secret: string | undefined): void {
  const message = secret === undefined ? undefined : parseSecret(secret);
  if (typeof message === "string") throw invalidRequest([{ path: "secret", message }]);
}

/** From one that is to come it would leave out in silence what changes before; one that is compacted cannot be had. */
async function startRevisionOf(call: Call, keyspace: KeyspaceName, asked: number | undefined): Promise<number> {
  const { header, compactedRevision } = await callConfig(call, keyspace, { kind: "status" });
  const next = header.revision + 1;
  if (asked === undefined) return next;
  if (asked > next) {
    const message = `revision ${asked} is to come: the newest is ${header.revision}, what changes from now on begins at ${next}`;
    throw new PublicError("futureRevision", message, { revision: header.revision });
  }
  if (asked >= compactedRevision) return asked;
  const message = `revision ${asked} is compacted; the oldest that can be had is ${compactedRevision}`;
  throw new PublicError("compacted", message, { compactedRevision });
}

function requireFound(id: string, result: RpcResult<WebhookInfo | null>): WebhookInfo {
  const info = unwrap(result);
  if (info) return info;
  throw new PublicError("notFound", `there is no webhook "${id}"`);
}

const create = configRoute({
  method: "post",
  path: PATH,
  summary: "Have changes of keys sent to a URL: in order, at least once, signed",
  scope: "admin",
  query: schemas.noQuery,
  body: schemas.newWebhookBody,
  data: schemas.changedWebhookShape,
  successStatus: 201,
  errors: ["compacted", "futureRevision", "dataCorrupt", ...CONFIG_WRITE_ERRORS],
  async handle(call, { body, raw, keyspace }) {
    const { namespace, key, prefix, start, end, keyEncoding, events, startRevision, secret, url, ...given } = body;
    requireUrl(call, url);
    requireSecret(secret);
    const range = rangeFrom({ key, prefix, start, end }, keyEncoding);
    if (!range) throw invalidRequest([{ path: "prefix", message: "give one of key, prefix, and start with end" }]);
    const { tenant } = keyspace;
    const subscription = {
      ...{ namespace, url, events: [...new Set(events)], key: range.key, rangeEnd: range.rangeEnd },
      ...given,
    };
    const input = {
      subscription,
      startRevision: await startRevisionOf(call, { tenant, namespace }, startRevision),
      secret: secret ?? null,
    };
    const { stubs } = call.services;
    const work = stubs.tenant(tenant).createWebhook(input, await mutationOf(call, raw));
    const { id, secret: made } = unwrap(await writing(work, "Tenant", { writeIdHex: hexOf(call.writeId!) }));
    const info = requireFound(id, await reading(stubs.webhookSender(tenant, id).describe(), "WebhookSender"));
    const data = shownWebhook(made === undefined ? info : { ...info, secret: made });
    return success(call, { status: 201, message: "created", data });
  },
});

const list = configRoute({
  method: "get",
  path: PATH,
  summary: "List the tenant's webhooks",
  scope: "admin",
  query: schemas.listQuery,
  data: schemas.webhooksShape,
  errors: ["dataCorrupt"],
  async handle(call, { query, keyspace: { tenant } }) {
    const { stubs } = call.services;
    const page = { after: afterCursor(query.cursor), limit: query.limit + 1 };
    const rows = await reading(stubs.tenant(tenant).listWebhooks(page), "Tenant");
    const { items: ids, cursor } = pageOf(rows, query.limit, { name: ({ id }) => id, item: ({ id }) => id });
    const items: unknown[] = [];
    for (let from = 0; from < ids.length; from += DESCRIBE_AT_ONCE) {
      const asked = ids.slice(from, from + DESCRIBE_AT_ONCE).map((id) => stubs.webhookSender(tenant, id).describe());
      // One deleted or not yet started since the ids were read has no description.
      for (const result of await reading(Promise.all(asked), "WebhookSender")) {
        const info = unwrap(result);
        if (info) items.push(shownWebhook(info));
      }
    }
    return success(call, { message: "listed", data: { items, cursor } });
  },
});

const look = configRoute({
  method: "get",
  path: ONE,
  summary: "Show a webhook: what it sends where, how far it is, why it waits",
  scope: "admin",
  params: schemas.webhookParams,
  query: schemas.noQuery,
  data: schemas.webhookShape,
  errors: ["notFound", "dataCorrupt"],
  async handle(call, { params, keyspace }) {
    const id = idOf(params);
    const work = call.services.stubs.webhookSender(keyspace.tenant, id).describe();
    const info = requireFound(id, await reading(work, "WebhookSender"));
    return success(call, { message: "found", data: shownWebhook(info) });
  },
});

const change = configRoute({
  method: "patch",
  path: ONE,
  summary: "Change a webhook: pause, resume, skip a dead letter, another URL or secret, other bounds",
  scope: "admin",
  params: schemas.webhookParams,
  query: schemas.noQuery,
  body: schemas.webhookChangesBody,
  data: schemas.changedWebhookShape,
  errors: ["notFound", "conflict", "idempotencyKeyReused", "unknownOutcome", "dataCorrupt"],
  async handle(call, { params, body, raw, keyspace }) {
    const id = idOf(params);
    const { state, skipDeadLetter, rotateSecret, secret, ...target } = body;
    requireUrl(call, target.url);
    requireSecret(secret);
    if (rotateSecret && secret !== undefined)
      throw invalidRequest([{ path: "secret", message: "give rotateSecret or secret, not both" }]);
    const changes = { target, state, skipDeadLetter, secret: rotateSecret ? null : secret } as WebhookChanges;
    const sender = call.services.stubs.webhookSender(keyspace.tenant, id);
    const work = sender.change(changes, await mutationOf(call, raw));
    const info = unwrap(await writing(work, "WebhookSender", { writeIdHex: hexOf(call.writeId!) }));
    return success(call, { message: "changed", data: shownWebhook(info) });
  },
});

const remove = configRoute({
  method: "delete",
  path: ONE,
  summary: "Delete a webhook: nothing more is sent",
  scope: "admin",
  params: schemas.webhookParams,
  query: schemas.noQuery,
  data: schemas.deletedWebhookShape,
  errors: ["notFound", "idempotencyKeyReused", "unknownOutcome"],
  async handle(call, { params, raw, keyspace }) {
    const id = idOf(params);
    const work = call.services.stubs.tenant(keyspace.tenant).deleteWebhook(id, await mutationOf(call, raw));
    return success(call, {
      message: "deleted",
      data: unwrap(await writing(work, "Tenant", { writeIdHex: hexOf(call.writeId!) })),
    });
  },
});

const replay = configRoute({
  method: "post",
  path: `${ONE}/replay`,
  summary: "Send again all events from a revision on",
  scope: "admin",
  params: schemas.webhookParams,
  query: schemas.noQuery,
  body: schemas.replayBody,
  data: schemas.webhookShape,
  errors: ["notFound", "compacted", "idempotencyKeyReused", "unknownOutcome", "dataCorrupt"],
  async handle(call, { params, body, raw, keyspace: { tenant } }) {
    const id = idOf(params);
    const sender = call.services.stubs.webhookSender(tenant, id);
    const { subscription } = requireFound(id, await reading(sender.describe(), "WebhookSender"));
    const { namespace } = subscription;
    const fromRevision = await startRevisionOf(call, { tenant, namespace }, body.fromRevision);
    const work = sender.replay(fromRevision, await mutationOf(call, raw));
    const info = unwrap(await writing(work, "WebhookSender", { writeIdHex: hexOf(call.writeId!) }));
    return success(call, { message: "replaying", data: shownWebhook(info) });
  },
});

const deadLetters = configRoute({
  method: "get",
  path: `${ONE}/dead-letters`,
  summary: "List requests that were given up, the newest first",
  scope: "admin",
  params: schemas.webhookParams,
  query: schemas.listQuery,
  data: schemas.deadLettersShape,
  errors: ["notFound", "dataCorrupt"],
  async handle(call, { params, query, keyspace }) {
    const id = idOf(params);
    const before = Number(afterCursor(query.cursor) || Number.MAX_SAFE_INTEGER);
    if (!Number.isSafeInteger(before))
      throw invalidRequest([{ path: "cursor", message: "is not one that an earlier page returned" }]);
    const sender = call.services.stubs.webhookSender(keyspace.tenant, id);
    const letters = unwrap(await reading(sender.deadLetters({ before, limit: query.limit + 1 }), "WebhookSender"));
    const data = pageOf(letters, query.limit, { name: ({ number }) => String(number), item: shownDeadLetter });
    return success(call, { message: "listed", data });
  },
});

export const webhookRoutes: readonly Route[] = [create, list, look, change, remove, replay, deadLetters];
