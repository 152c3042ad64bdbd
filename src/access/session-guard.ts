// Ends open sessions when their API key or signed token does, and tells them of changed settings: a session authenticates once, at
// its opening. Guarantees: a revoked or expired credential and a deleted tenant end their sessions within CHECK_EVERY_MS plus one call; one call a
// tenant and check, however many sessions; without the tenant's owner sessions go on for `staleMs`, as requests do (AC-7).
// Must not: run a timer while there are no sessions. Pure: calls, clock and timer come from outside.
import { sessionCaller } from "./judge.ts";
import { TENANT_VIEW_TTL_MS, VIEW_WAIT_MS } from "./limits.ts";
import type { Caller, Credential, TenantView } from "./types.ts";

/** Leaves the rest of the two seconds to the call. For most of it the question waits at the owner, so that most ends are known at once. */
export const CHECK_EVERY_MS = TENANT_VIEW_TTL_MS / 2;

export interface GuardedSession {
  readonly tenant: number;
  readonly credential: Credential;
  /** The tenant's settings changed. */
  update(caller: Caller, view: TenantView): void;
  /** The credential no longer opens the tenant. Called once. */
  end(): void;
}

export interface SessionGuardOptions {
  /** `Tenant.viewSince` under a deadline. */
  readonly viewSince: (
    tenant: number,
    revision: number | null,
    waitMs: number,
  ) => Promise<TenantView | "unchanged" | null>;
  readonly now: () => number;
  readonly setTimer: (delayMs: number, run: () => void) => void;
  readonly staleMs: number;
}

interface Watched {
  view: TenantView | undefined;
  asOfMs: number;
  readonly sessions: Set<GuardedSession>;
}

export class SessionGuard {
  readonly #options: SessionGuardOptions;
  readonly #tenants = new Map<number, Watched>();
  #isTicking = false;

  constructor(options: SessionGuardOptions) {
    this.#options = options;
  }

  /** Watches a session; call what it gives when the session is closed. */
  add(session: GuardedSession): () => void {
    let watched = this.#tenants.get(session.tenant);
    if (!watched) {
      watched = { view: undefined, asOfMs: this.#options.now(), sessions: new Set() };
      this.#tenants.set(session.tenant, watched);
    }
    watched.sessions.add(session);
    this.#tick();
    return () => this.#remove(session);
  }

  /** One check of all tenants with sessions. */
  async check(): Promise<void> {
    await Promise.all([...this.#tenants].map(([tenant, watched]) => this.#checkTenant(tenant, watched)));
  }

  #tick(delayMs = CHECK_EVERY_MS): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    const { setTimer, now } = this.#options;
    setTimer(delayMs, () => {
      const beganMs = now();
      void this.check().finally(() => {
        this.#isTicking = false;
        if (this.#tenants.size > 0) this.#tick(Math.max(0, CHECK_EVERY_MS - (now() - beganMs)));
      });
    });
  }

  #remove(session: GuardedSession): void {
    const watched = this.#tenants.get(session.tenant);
    watched?.sessions.delete(session);
    if (watched?.sessions.size === 0) this.#tenants.delete(session.tenant);
  }

  async #checkTenant(tenant: number, watched: Watched): Promise<void> {
    const { viewSince, now, staleMs } = this.#options;
    const beganMs = now();
    let view: TenantView | undefined;
    let isNew = false;
    try {
      const answer = await viewSince(tenant, watched.view?.revision ?? null, VIEW_WAIT_MS);
      view = answer === "unchanged" ? watched.view : (answer ?? undefined);
      isNew = view !== watched.view;
      watched.view = view;
      watched.asOfMs = beganMs;
    } catch {
      // The owner is away: the last view goes on, as long as it may.
      if (now() - watched.asOfMs < staleMs && !watched.view) return;
      view = now() - watched.asOfMs < staleMs ? watched.view : undefined;
    }
    for (const session of [...watched.sessions]) {
      const caller = sessionCaller(view, session.credential, now());
      if (!caller || !view) {
        this.#remove(session);
        session.end();
      } else if (isNew) {
        session.update(caller, view);
      }
    }
  }
}
