// What this isolate knows of tenants: views at most two seconds old, older ones only while their owner cannot be reached.
// Guarantees: a view is never used past TENANT_VIEW_TTL_MS when the Tenant answers; without it up to `staleMs`; bounded.
// Must not: share a promise between requests (workerd forbids waiting for another request's I/O).
import { withDeadline } from "../../objects/with-deadline.ts";
import { BoundedMap } from "../access/bounded-map.ts";
import { MAX_TENANT_VIEWS, TENANT_VIEW_TTL_MS } from "../access/limits.ts";
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
  async fetch(tenantId: string): Promise<TenantView | undefined> {
    const asOfMs = this.#options.now();
    const held = this.#held.get(tenantId);
    const changes = this.#changes;
    try {
      const view = await withDeadline(this.#load(tenantId, held?.view), VIEW_DEADLINE_MS, "Tenant");
      if (changes !== this.#changes) return view;
      if (view) this.#held.set(tenantId, { view, asOfMs, retryAtMs: 0, refreshing: false });
      else this.#held.delete(tenantId);
      return view;
    } catch (cause) {
      const nowMs = this.#options.now();
      if (held && this.#mayServeStale(held, nowMs)) {
        held.retryAtMs = nowMs + VIEW_RETRY_MS;
        return held.view;
      }
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
    waitUntil(this.fetch(tenantId).then(done, done));
  }

  #mayServeStale(held: HeldView, nowMs: number): boolean {
    const isUsable = nowMs - held.asOfMs < this.#options.staleMs;
    if (isUsable) this.#options.onStale();
    return isUsable;
  }

  /** The known number first; only when it is gone the Directory, which may know the name under a new number. */
  async #load(tenantId: string, known: TenantView | undefined): Promise<TenantView | undefined> {
    const { stubs } = this.#options;
    if (known) {
      const answer = await stubs.tenant(known.tenant).viewSince(known.revision);
      if (answer === "unchanged") return known;
      if (answer?.state === "active") return answer;
    }
    const tenant = await stubs.directory().lookupTenant(tenantId);
    if (tenant === null) return undefined;
    const view = await stubs.tenant(tenant).viewSince(null);
    return view !== null && view !== "unchanged" && view.state === "active" ? view : undefined;
  }
}
