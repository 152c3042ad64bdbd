// One webhook subscription: a thin shell of SQLite, alarms, RPC and requests around src/config/webhook-worker.ts.
// Guarantees: what moves is durable before more is sent (the output gate holds requests); an active subscription has an alarm, so that it
// goes on after any restart. Must not: decide when to send what.
import { DurableObject } from "cloudflare:workers";
import kernelModule from "../dist/wasm/storage.wasm";
import { deriveWebhookSecret, recordIdOf } from "../src/access/api-key.ts";
import { zoneHere } from "../src/cluster/placement.ts";
import { parseSettings } from "../src/cluster/settings.ts";
import { OLD_SECRET_MS } from "../src/config/limits.ts";
import { CorruptRecord } from "../src/config/record.ts";
import { TargetBreakers } from "../src/config/webhook-breaker.ts";
import { firstProgress, pausedByOwner, replayed, resumed, skipped } from "../src/config/webhook-delivery.ts";
import { secretText, type WebhookSecret } from "../src/config/webhook-signature.ts";
import type { FeedAsk, FeedPage } from "../src/config/webhook-types.ts";
import { WebhookWorker } from "../src/config/webhook-worker.ts";
import { createKernels } from "../src/storage/kernels.ts";
import { createLogger, type Logger } from "../src/telemetry/logger.ts";
import { type Network, parseNetwork } from "../src/wire/networks.ts";
import type { Env } from "./env.ts";
import { failure, type Mutation, type RpcFailure, type RpcResult } from "./tenancy-rpc.ts";
import { post } from "./webhook-post.ts";
import type { NumberedDeadLetter, WebhookChanges, WebhookInfo, WebhookSenderRpc, WebhookStart } from "./webhook-rpc.ts";
import { WebhookStore } from "./webhook-store.ts";
import { withDeadline } from "./with-deadline.ts";
import { WriteRecords } from "./write-records.ts";

/** How long the keyspace holds a request for what is not there yet. Ms. */
const FEED_WAIT_MS = 10_000;
const FEED_DEADLINE_MS = FEED_WAIT_MS + 5000;
const CALL_DEADLINE_MS = 5000;
/** After the keyspace or the Tenant did not answer. Ms. */
const RETRY_MS = 1000;
/** An active subscription is woken this often: after a crash it goes on within it. Ms. */
const KEEP_AWAKE_MS = 10_000;
/** Repeated changes get their first answer for a day. Ms. */
const RECORDS_MS = 24 * 3_600_000;

/** Of all senders of the process: failures of one are known to the others. */
const breakers = new TargetBreakers();
const kernels = createKernels(kernelModule);
const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);

export class WebhookSender extends DurableObject<Env> implements WebhookSenderRpc {
  readonly #log: Logger;
  readonly #allowed: readonly Network[];
  readonly #records: WriteRecords;
  #store: WebhookStore | undefined;
  #damage: RpcFailure | undefined;
  #worker: WebhookWorker | undefined;
  #isRunning = false;
  /** Something changed since the loop looked. */
  #isChanged = false;
  #wake: (() => void) | undefined;
  /** The Tenant said that this subscription is not deleted. */
  #isConfirmed = false;
  #counts: Record<string, number> = {};

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const settings = parseSettings(env.JADE_CONFIG);
    const write = (_: string, line: string): void => console.log(line);
    this.#log = createLogger({ level: settings.log.level, now: Date.now, write, fields: { part: "webhook" } });
    this.#allowed = settings.webhooks.allowedNetworks.map((text) => parseNetwork(text)!);
    this.#records = new WriteRecords(ctx.storage.sql, RECORDS_MS);
    try {
      this.#hold(WebhookStore.open(ctx.storage, crc32c));
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      this.#log.error("webhook damaged", {}, error);
      this.#damage = failure("dataCorrupt", error.message);
    }
  }

  async start({ subscription, startRevision, secret, createdAtMs }: WebhookStart): Promise<void> {
    if (this.#store || this.#damage) return;
    const sealing = secretText(crypto.getRandomValues(new Uint8Array(32)));
    const facts = {
      subscription,
      progress: firstProgress(startRevision),
      secrets: [{ text: secret, validUntilMs: null }],
      origin: { createdAtMs, sealing },
    };
    this.#hold(WebhookStore.create(this.ctx.storage, crc32c, facts));
    await this.#goOn();
  }

  async describe(): Promise<RpcResult<WebhookInfo | null>> {
    return this.#damage ?? { ok: true, value: this.#store ? this.#info(this.#store) : null };
  }

  async change(changes: WebhookChanges, mutation: Mutation): Promise<RpcResult<WebhookInfo>> {
    const store = this.#store;
    if (!store) return this.#absent();
    const { sealing } = store.facts.origin;
    const made = secretText(await deriveWebhookSecret(new TextEncoder().encode(sealing), mutation.writeId));
    const result = await this.#mutate(store, mutation, () => {
      const refusal = this.#refusal(store, changes);
      if (refusal) return refusal;
      this.#apply(store, changes, made);
      return undefined;
    });
    return result.ok && changes.secret === null ? { ok: true, value: { ...result.value, secret: made } } : result;
  }

  replay(fromRevision: number, mutation: Mutation): Promise<RpcResult<WebhookInfo>> {
    const store = this.#store;
    if (!store) return Promise.resolve(this.#absent());
    return this.#mutate(store, mutation, () => {
      store.set({ progress: replayed(store.facts.progress, fromRevision) });
      return undefined;
    });
  }

  async deadLetters(page: { before: number; limit: number }): Promise<RpcResult<readonly NumberedDeadLetter[]>> {
    if (!this.#store) return this.#absent();
    try {
      return { ok: true, value: this.#store.deadLetters(page.before, page.limit) };
    } catch (error) {
      if (error instanceof CorruptRecord) return failure("dataCorrupt", error.message);
      throw error;
    }
  }

  async erase(): Promise<void> {
    const isEmpty = this.#store === undefined && this.#damage === undefined;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    if (isEmpty) return;
    // What is in memory, and a request under way, go by a restart.
    await this.ctx.storage.sync();
    this.ctx.abort("erased");
  }

  override async alarm(): Promise<void> {
    if (!this.#store) return;
    this.#records.purge(Date.now());
    this.#worker!.keepPlace();
    this.#report();
    await this.#goOn();
  }

  #hold(store: WebhookStore | undefined): void {
    this.#store = store;
    if (!store) return;
    const { namespace } = store.facts.subscription;
    this.#worker = new WebhookWorker({
      subscription: () => store.facts.subscription,
      progress: () => store.facts.progress,
      save: (progress, deadLetter) =>
        this.ctx.storage.transactionSync(() => {
          store.set({ progress });
          if (deadLetter) store.addDeadLetter(deadLetter);
        }),
      feed: (ask) => this.#feed(namespace, ask),
      post: (message, target) =>
        post({
          ...{ message, target, secrets: store.facts.secrets },
          ...{ allowed: this.#allowed, network: this.env.WEBHOOK_NETWORK },
        }),
      breakers,
      now: Date.now,
      random: Math.random,
      feedWaitMs: FEED_WAIT_MS,
      count: (name, by) => {
        this.#counts[name] = (this.#counts[name] ?? 0) + by;
      },
    });
  }

  #absent(): RpcFailure {
    return this.#damage ?? failure("notFound", "there is no such webhook");
  }

  #info(store: WebhookStore): WebhookInfo {
    const { subscription, progress, secrets, origin } = store.facts;
    const oldSecretUntilMs = secrets.find(({ validUntilMs }) => (validUntilMs ?? 0) > Date.now())?.validUntilMs ?? null;
    const { createdAtMs } = origin;
    return { subscription, progress, createdAtMs, deadLetterCount: store.deadLetterCount, oldSecretUntilMs };
  }

  #refusal({ facts }: WebhookStore, { state, skipDeadLetter }: WebhookChanges): RpcFailure | undefined {
    const { reason, compactedRevision } = facts.progress;
    if (skipDeadLetter && reason !== "deadLetter")
      return failure("conflict", "the webhook does not stand at a dead letter: there is nothing to skip");
    if (state !== "active" || reason !== "compacted") return undefined;
    const message = `what comes next is compacted: replay from ${compactedRevision} or later`;
    return failure("conflict", message, { compactedRevision });
  }

  #apply(store: WebhookStore, { target, state, skipDeadLetter, secret }: WebhookChanges, made: string): void {
    const { subscription, secrets } = store.facts;
    let { progress } = store.facts;
    if (skipDeadLetter) progress = skipped(progress);
    if (state === "active") progress = resumed(progress);
    if (state === "paused") progress = pausedByOwner(progress);
    store.set({ subscription: { ...subscription, ...target }, progress });
    if (secret !== undefined) store.set({ secrets: rotated(secrets, secret ?? made, Date.now()) });
  }

  async #mutate(
    store: WebhookStore,
    mutation: Mutation,
    change: () => RpcFailure | undefined,
  ): Promise<RpcResult<WebhookInfo>> {
    const recordId = await recordIdOf(mutation.writeId);
    const result = this.ctx.storage.transactionSync(() =>
      this.#records.once<WebhookInfo>({
        ...{ recordId, mutation, nowMs: Date.now() },
        mutate: () => change() ?? { ok: true, value: this.#info(store) },
      }),
    );
    await this.#goOn();
    return result;
  }

  /** Sets the alarm and sees that the loop runs. */
  async #goOn(): Promise<void> {
    const isActive = this.#store!.facts.progress.state === "active";
    const purgeAtMs = this.#records.nextPurgeAtMs();
    if (isActive) await this.ctx.storage.setAlarm(Date.now() + KEEP_AWAKE_MS);
    else if (purgeAtMs !== null) await this.ctx.storage.setAlarm(purgeAtMs);
    this.#isChanged = true;
    this.#wake?.();
    if (isActive && !this.#isRunning) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      while (this.#isChanged) {
        this.#isChanged = false;
        const atMs = await this.#step();
        if (atMs === Number.POSITIVE_INFINITY) continue;
        if (atMs > Date.now() && !this.#isChanged) await this.#sleep(atMs - Date.now());
        this.#isChanged = true;
      }
    } finally {
      this.#isRunning = false;
      this.#report();
    }
  }

  async #step(): Promise<number> {
    try {
      if (!this.#isConfirmed && !(await this.#confirm())) return Number.POSITIVE_INFINITY;
      return await this.#worker!.step();
    } catch (error) {
      this.#log.warn("webhook waits", { subscription: this.#store?.facts.subscription.id }, error);
      return Date.now() + RETRY_MS;
    }
  }

  /** A start that came late, after the deletion, must not bring a subscription back. */
  async #confirm(): Promise<boolean> {
    const [tenant] = /[0-9]+/.exec(this.ctx.id.name ?? "") ?? [];
    const object = this.env.TENANT.get(this.env.TENANT.idFromName(`t${tenant}`));
    const { id } = this.#store!.facts.subscription;
    this.#isConfirmed = await withDeadline(object.isWebhook(id), CALL_DEADLINE_MS, "Tenant");
    if (!this.#isConfirmed) await this.erase();
    return this.#isConfirmed;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wake = done;
    });
  }

  /** A change of the subscription ends the wait: a replay or a resumption must not stand behind it. */
  #feed(namespace: string, ask: FeedAsk): Promise<FeedPage> {
    const page = withDeadline(this.#keyspace(namespace).feed(ask), FEED_DEADLINE_MS, "ConfigKeyspace");
    if (ask.until !== null) return page;
    const { promise, resolve } = Promise.withResolvers<FeedPage>();
    this.#wake = () => resolve({ kind: "events", events: [], next: ask.from, isEnd: true });
    return Promise.race([page, promise]);
  }

  #keyspace(namespace: string) {
    const [tenant] = /[0-9]+/.exec(this.ctx.id.name ?? "") ?? [];
    const objects = this.env.CONFIG_KEYSPACE;
    return objects.get(objects.idFromName(`c${tenant}/${namespace}`));
  }

  /** A report that is lost costs counts, not events. */
  #report(): void {
    const counts = this.#counts;
    if (Object.keys(counts).length === 0) return;
    this.#counts = {};
    const { delivered = 0, failed = 0, events = 0, dead = 0 } = counts;
    const coordinators = this.env.COORDINATOR;
    const delta = {
      'jade_webhook_requests_total{outcome="delivered"}': delivered,
      'jade_webhook_requests_total{outcome="failed"}': failed,
      jade_webhook_events_total: events,
      jade_webhook_dead_letters_total: dead,
    };
    const report = coordinators.get(coordinators.idFromName(zoneHere(this.env))).reportGatewayMetrics(delta);
    this.ctx.waitUntil(report.catch(() => undefined));
  }
}

/** The new one first; those before it sign for a day more. */
function rotated(secrets: readonly WebhookSecret[], text: string, nowMs: number): readonly WebhookSecret[] {
  if (secrets[0]?.text === text) return secrets;
  const old = secrets[0] ? [{ text: secrets[0].text, validUntilMs: nowMs + OLD_SECRET_MS }] : [];
  return [{ text, validUntilMs: null }, ...old];
}
