// What this isolate knows of tenants: views at most two seconds old, older ones only while their owner cannot be reached. While requests
// come a question waits at the owner, so that a change is known at once.
// Guarantees: a view is never used past TENANT_VIEW_TTL_MS when the Tenant answers; without it up to `staleMs`, over a start of this process too
// (objects/zone-views.ts); once it did not answer, requests that follow each other go on at once, and it is asked behind them; bounded.
// Must not: share a promise between requests (workerd forbids waiting for another request's I/O).
import { withDeadline } from "../../objects/with-deadline.ts";
import { BoundedMap } from "../access/bounded-map.ts";
import { KEEP_VIEW_EVERY_MS, MAX_TENANT_VIEWS, TENANT_VIEW_TTL_MS, VIEW_WAIT_MS } from "../access/limits.ts";
import type { TenantView } from "../access/types.ts";
import { PublicError } from "../wire/error-codes.ts";
import { VIEW_DEADLINE_MS, VIEW_LEAST_WAIT_MS, VIEW_REFRESH_MS, VIEW_RETRY_MS } from "./limits.ts";
import type { Stubs } from "./stubs.ts";

type WaitUntil = (work: Promise<unknown>) => void;

export interface HeldView {
  view: TenantView;
  /** When the fetch that gave it began. */
  asOfMs: number;
  /** Not asked again before. */
  retryAtMs: number;
  /** When the question began that is under way behind requests; 0 = none. */
  askedAtMs: number;
  /** When the last question failed; 0 = it was answered. */
  failedAtMs: number;
  /** As of when the zone's disk has it; 0 = not this one. */
  keptMs: number;
}

export interface TenantViewsOptions {
  readonly stubs: Stubs;
  readonly now: () => number;
  readonly staleMs: number;
  /** Told when an old view had to serve. */
  readonly onStale: () => void;
}

export class TenantViews {
  readonly #options: TenantViewsOptions;
  readonly #held = new BoundedMap<string, HeldView>(MAX_TENANT_VIEWS);
  /** Grows with every change made here: a view asked for before it must not be kept after it. */
  #changes = 0;

  constructor(options: TenantViewsOptions) {
    this.#options = options;
  }

  /** What is in memory, however old. */
  peek(tenantId: string): HeldView | undefined {
    return this.#held.get(tenantId);
  }

  isFresh(held: HeldView, nowMs: number): boolean {
    return nowMs - held.asOfMs < TENANT_VIEW_TTL_MS;
  }

  /** After a change made here: the next request asks again. */
  forget(tenantId: string): void {
    this.#held.delete(tenantId);
    this.#changes++;
  }

  /** A usable view, fetched where needed; undefined = there is no such tenant. Throws `unavailable`. */
  async get(tenantId: string, waitUntil?: WaitUntil): Promise<TenantView | undefined> {
    const held = this.#held.get(tenantId);
    const nowMs = this.#options.now();
    if (!held) return this.fetch(tenantId);
    if (this.isFresh(held, nowMs)) return held.view;
    if (this.#isKnownAway(held, nowMs) && this.#mayServeStale(held, nowMs)) {
      if (waitUntil) this.refreshBehind(tenantId, held, waitUntil);
      return held.view;
    }
    // Nobody waits longer than the question that is under way already.
    const askedForMs = this.#isAsked(held, nowMs) ? nowMs - held.askedAtMs : 0;
    return this.fetch(tenantId, { deadlineMs: Math.max(VIEW_LEAST_WAIT_MS, VIEW_DEADLINE_MS - askedForMs) });
  }

  #isAsked(held: HeldView, nowMs: number): boolean {
    // One whose request was cut off never ends.
    return held.askedAtMs > 0 && nowMs - held.askedAtMs < VIEW_DEADLINE_MS;
  }

  /** The owner did not answer a moment ago. Longer ago it may have come back, and revoked keys: then a request asks itself. */
  #isKnownAway(held: HeldView, nowMs: number): boolean {
    return held.failedAtMs > 0 && (nowMs - held.failedAtMs < VIEW_RETRY_MS || this.#isAsked(held, nowMs));
  }

  /** Asks the tenant's owner now. */
  async fetch(
    tenantId: string,
    { waitMs = 0, deadlineMs = VIEW_DEADLINE_MS }: { readonly waitMs?: number; readonly deadlineMs?: number } = {},
  ): Promise<TenantView | undefined> {
    const asOfMs = this.#options.now();
    const held = this.#held.get(tenantId);
    const changes = this.#changes;
    try {
      const view = await withDeadline(this.#load(tenantId, held?.view, waitMs), deadlineMs, "Tenant");
      if (changes !== this.#changes) return view;
      const keptMs = view && view === held?.view ? held.keptMs : 0;
      if (view) this.#held.set(tenantId, { view, asOfMs, retryAtMs: 0, askedAtMs: 0, failedAtMs: 0, keptMs });
      else this.#held.delete(tenantId);
      return view;
    } catch (cause) {
      const nowMs = this.#options.now();
      if (held && this.#mayServeStale(held, nowMs)) {
        held.failedAtMs = nowMs;
        held.retryAtMs = asOfMs + VIEW_RETRY_MS;
        return held.view;
      }
      const kept = held ? undefined : await this.#kept(tenantId, changes);
      if (kept) return kept;
      const error = new PublicError("unavailable", "the part that knows the API keys cannot be reached");
      error.cause = cause;
      throw error;
    }
  }

  /** Fetches behind the present request when the view grows old. One at a time for each tenant. */
  refreshBehind(tenantId: string, held: HeldView, waitUntil: WaitUntil): void {
    const nowMs = this.#options.now();
    if (this.#isAsked(held, nowMs) || nowMs - held.asOfMs < VIEW_REFRESH_MS || nowMs < held.retryAtMs) return;
    held.askedAtMs = nowMs;
    const done = (): void => {
      held.askedAtMs = 0;
    };
    const waitMs = held.failedAtMs > 0 ? 0 : VIEW_WAIT_MS;
    // A failure here is noted in what is held.
    waitUntil(
      this.fetch(tenantId, { waitMs })
        .then(done, done)
        .then(() => this.#keep(tenantId)),
    );
  }

  /** After a change made here: what the zone kept must not admit what it took away. */
  async forgetKept(tenantId: string): Promise<void> {
    this.forget(tenantId);
    await this.#options.stubs
      .zoneViews()
      .forgetTenant(tenantId)
      .catch(() => undefined); // it grows too old by itself
  }

  /** For a start while the owner is away. */
  async #keep(tenantId: string): Promise<void> {
    const held = this.#held.get(tenantId);
    const zone = this.#options.stubs.zoneViews();
    if (held && held.asOfMs - held.keptMs < KEEP_VIEW_EVERY_MS) return;
    try {
      if (!held) return await zone.forgetTenant(tenantId);
      await zone.keepTenant(held.view, held.asOfMs);
      held.keptMs = held.asOfMs;
    } catch {
      // The next refresh tries again.
    }
  }

  /** What this zone saw last, where this isolate has seen nothing and the owner is away. */
  async #kept(tenantId: string, changes: number): Promise<TenantView | undefined> {
    const kept = await this.#options.stubs
      .zoneViews()
      .tenant(tenantId)
      .catch(() => null); // as if nothing were kept: the caller says that the owner is away
    const nowMs = this.#options.now();
    if (!kept || changes !== this.#changes) return undefined;
    const { view, asOfMs } = kept;
    const failed = { failedAtMs: nowMs, retryAtMs: nowMs + VIEW_RETRY_MS };
    const held = { view, asOfMs, ...failed, askedAtMs: 0, keptMs: asOfMs };
    if (!this.#mayServeStale(held, nowMs)) return undefined;
    this.#held.set(tenantId, held);
    return view;
  }

  #mayServeStale(held: HeldView, nowMs: number): boolean {
    const isUsable = nowMs - held.asOfMs < this.#options.staleMs;
    if (isUsable) this.#options.onStale();
    return isUsable;
  }

  /** The known number first; only when it is gone the Directory, which may know the name under a new number. */
  async #load(tenantId: string, known: TenantView | undefined, waitMs: number): Promise<TenantView | undefined> {
    const { stubs } = this.#options;
    if (known) {
      const answer = await stubs.tenant(known.tenant).viewSince(known.revision, waitMs);
      if (answer === "unchanged") return known;
      if (answer?.state === "active") return answer;
    }
    const tenant = await stubs.directory().lookupTenant(tenantId);
    if (tenant === null) return undefined;
    const view = await stubs.tenant(tenant).viewSince(null);
    return view !== null && view !== "unchanged" && view.state === "active" ? view : undefined;
  }
}
