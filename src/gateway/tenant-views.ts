// What this isolate knows of tenants: views at most two seconds old, older ones only while their owner cannot be reached. While requests
// come a question waits at the owner, so that a change is known at once.
// Guarantees: a view is never used past TENANT_VIEW_TTL_MS when the Tenant answers; without it up to `staleMs`, over a start of this process too
// (objects/zone-views.ts); bounded.
// Must not: share a promise between requests (workerd forbids waiting for another request's I/O).
import { withDeadline } from "../../objects/with-deadline.ts";
import { BoundedMap } from "../access/bounded-map.ts";
import { KEEP_VIEW_EVERY_MS, MAX_TENANT_VIEWS, TENANT_VIEW_TTL_MS, VIEW_WAIT_MS } from "../access/limits.ts";
import type { TenantView } from "../access/types.ts";
import { PublicError } from "../wire/error-codes.ts";
import { VIEW_DEADLINE_MS, VIEW_REFRESH_MS, VIEW_RETRY_MS } from "./limits.ts";
import type { Stubs } from "./stubs.ts";

export interface HeldView {
  view: TenantView;
  /** When the fetch that gave it began. */
  asOfMs: number;
  /** Not asked again before. */
  retryAtMs: number;
  refreshing: boolean;
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
  async get(tenantId: string): Promise<TenantView | undefined> {
    const held = this.#held.get(tenantId);
    const nowMs = this.#options.now();
    if (held && (this.isFresh(held, nowMs) || (nowMs < held.retryAtMs && this.#mayServeStale(held, nowMs)))) {
      return held.view;
    }
    return this.fetch(tenantId);
  }

  /** Asks the tenant's owner now. */
  async fetch(tenantId: string, waitMs = 0): Promise<TenantView | undefined> {
    const asOfMs = this.#options.now();
    const held = this.#held.get(tenantId);
    const changes = this.#changes;
    try {
      const view = await withDeadline(this.#load(tenantId, held?.view, waitMs), VIEW_DEADLINE_MS, "Tenant");
      if (changes !== this.#changes) return view;
      const keptMs = view && view === held?.view ? held.keptMs : 0;
      if (view) this.#held.set(tenantId, { view, asOfMs, retryAtMs: 0, refreshing: false, keptMs });
      else this.#held.delete(tenantId);
      return view;
    } catch (cause) {
      const nowMs = this.#options.now();
      if (held && this.#mayServeStale(held, nowMs)) {
        held.retryAtMs = nowMs + VIEW_RETRY_MS;
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
  refreshBehind(tenantId: string, held: HeldView, waitUntil: (work: Promise<unknown>) => void): void {
    const nowMs = this.#options.now();
    if (held.refreshing || nowMs - held.asOfMs < VIEW_REFRESH_MS || nowMs < held.retryAtMs) return;
    held.refreshing = true;
    const done = (): void => {
      held.refreshing = false;
    };
    // A failure here shows when the view has expired and a request asks itself.
    waitUntil(
      this.fetch(tenantId, VIEW_WAIT_MS)
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
    const held = { view, asOfMs, retryAtMs: nowMs + VIEW_RETRY_MS, refreshing: false, keptMs: asOfMs };
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
