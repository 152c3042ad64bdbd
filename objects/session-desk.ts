// Where a Coordinator's sessions begin and end: how many there may be, whose rate limits hold for what they send, and when they must
// close (src/access/session-guard.ts). Guarantees: bounded sessions, in all and for each tenant; the operations of one session start in
// the order they were sent, also when some wait for a lease. Must not: know what an operation does.
import { LEASE_DEADLINE_MS, VIEW_WAIT_MS } from "../src/access/limits.ts";
import { RateGate, type RateSubject } from "../src/access/rate-gate.ts";
import { SessionGuard } from "../src/access/session-guard.ts";
import type { Caller, Credential, RateLimit, TenantView } from "../src/access/types.ts";
import type { Settings } from "../src/cluster/settings.ts";
import { type LeaseOwner, newLeaseOwner } from "../src/config/owned-leases.ts";
import { type ErrorCode, PublicError } from "../src/wire/error-codes.ts";
import { CLOSE_GOING_AWAY, GOING_AWAY_REASON } from "../src/wire/going-away.ts";
import type { SessionAnswer, SessionRequest } from "../src/wire/session.ts";
import type { Env } from "./env.ts";
import type { TenantRpc } from "./rpc.ts";
import { Session } from "./session.ts";
import { withDeadline } from "./with-deadline.ts";

/** How long a session's check of its credential may take. Ms. */
const GUARD_DEADLINE_MS = VIEW_WAIT_MS + 1000;
/** Close code of RFC 6455: policy violation. */
const CLOSE_POLICY = 1008;

/** Values of one session's operations that wait for a lease, which takes a call at most. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

type Done = (answer: SessionAnswer) => void;
type Submit = (caller: Caller, request: SessionRequest, done: Done, of: SessionOf) => void;

/** What of its session an operation needs. */
export interface SessionOf {
  readonly owner: LeaseOwner;
  readonly rate: RateSubject | undefined;
}

/** What the gateway found out about a session's bearer: the header `jade-session`. */
export interface SessionBearer {
  readonly credential: Credential;
  readonly tenantLimit: RateLimit | null;
  readonly keyLimit: RateLimit | null;
}

export interface SessionDeskOptions {
  readonly env: Env;
  readonly settings: Settings;
  readonly submit: Submit;
  /** The session's leases are to end with it. */
  readonly closed: (owner: LeaseOwner, isClosed: boolean) => void;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** There is a first session, or the last one has gone. */
  readonly onHolding: (hasSessions: boolean) => void;
}

export class SessionDesk {
  readonly #options: SessionDeskOptions;
  readonly #sessions = new Set<Session>();
  readonly #perTenant = new Map<number, number>();
  readonly #guard: SessionGuard;
  readonly #rates: RateGate;
  #member: string | undefined;
  /** For /metrics. */
  readonly counts = { rateLimited: 0, refused: 0 };

  constructor(options: SessionDeskOptions) {
    this.#options = options;
    const tenant = (number: number): TenantRpc => options.env.TENANT.get(options.env.TENANT.idFromName(`t${number}`));
    this.#guard = new SessionGuard({
      viewSince: (number, revision, waitMs) =>
        withDeadline(tenant(number).viewSince(revision, waitMs), GUARD_DEADLINE_MS, "Tenant"),
      now: Date.now,
      setTimer: (delayMs, run) => void setTimeout(run, delayMs),
      staleMs: options.settings.auth.staleTenantViewMinutes * 60_000,
    });
    this.#rates = new RateGate({
      now: Date.now,
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      lease: (number, asks) => {
        this.#member ??= crypto.randomUUID();
        return withDeadline(tenant(number).lease(this.#member, asks), LEASE_DEADLINE_MS, "Tenant");
      },
      onRefused: () => {
        this.counts.rateLimited++;
      },
    });
  }

  get rates(): RateGate {
    return this.#rates;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** The error that a new session of this tenant gets; undefined = there is room. */
  refusal(tenant: number): { readonly code: ErrorCode; readonly message: string } | undefined {
    const { maxSessions, maxSessionsPerTenant } = this.#options.settings.limits;
    const own = this.#perTenant.get(tenant) ?? 0;
    if (own < maxSessionsPerTenant && this.#sessions.size < maxSessions) return undefined;
    this.counts.refused++;
    if (own >= maxSessionsPerTenant) {
      const message = `the tenant has ${own} sessions open here, the limit is ${maxSessionsPerTenant}`;
      return { code: "rateLimited", message };
    }
    const message = `${this.#sessions.size} sessions are open here, the limit is ${maxSessions}`;
    return { code: "overloaded", message };
  }

  open(socket: WebSocket, first: Caller, { credential, tenantLimit, keyLimit }: SessionBearer): void {
    let caller = first;
    const keyId = credential.kind === "key" ? credential.keyId : null;
    const { tenant } = first;
    let rate = this.#rates.subjectOf({ tenant, tenantLimit, keyId, keyLimit });
    const start = this.#inOrder();
    const owner = newLeaseOwner();
    const session = new Session(socket, (sent, done) => {
      start(sent.op === "ping" ? undefined : rate, sent, done, (request) =>
        this.#options.submit(caller, request, done, { owner, rate }),
      );
    });
    this.#sessions.add(session);
    if (this.#sessions.size === 1) this.#options.onHolding(true);
    this.#count(tenant, 1);
    const unguard = this.#guard.add({
      tenant,
      credential,
      update: (changed, view) => {
        caller = changed;
        rate = this.#rates.subjectOf({ tenant, keyId, tenantLimit: view.rateLimit, keyLimit: keyLimitOf(view, keyId) });
      },
      end: () => session.end(CLOSE_POLICY, "the API key or token no longer opens this tenant"),
    });
    void session.closed.then((isClosed) => {
      this.#options.closed(owner, isClosed);
      this.#sessions.delete(session);
      if (this.#sessions.size === 0) this.#options.onHolding(false);
      this.#count(tenant, -1);
      unguard();
    });
  }

  /** The process stops: what is under way is asked again elsewhere, under its write ids. */
  leave(): void {
    for (const session of this.#sessions) session.end(CLOSE_GOING_AWAY, GOING_AWAY_REASON);
  }

  #count(tenant: number, by: number): void {
    const count = (this.#perTenant.get(tenant) ?? 0) + by;
    if (count > 0) this.#perTenant.set(tenant, count);
    else this.#perTenant.delete(tenant);
  }

  /** Admits and starts; what comes while an earlier one waits for a lease waits behind it. */
  #inOrder() {
    let waiting: Promise<void> | undefined;
    let waitingBytes = 0;
    return (
      rate: RateSubject | undefined,
      sent: SessionRequest,
      done: Done,
      submit: (request: SessionRequest) => void,
    ): void => {
      if (!waiting) {
        if (!rate) return submit(sent);
        try {
          const admitted = this.#rates.admit(rate, 1, this.#options.waitUntil);
          if (!admitted) return submit(sent);
          waiting = admitted;
        } catch (error) {
          return done(errorAnswer(sent.id, error));
        }
      } else if (waitingBytes > MAX_WAITING_BYTES) {
        const message = `requests of ${waitingBytes} bytes wait for a lease, the limit is ${MAX_WAITING_BYTES}`;
        return done({ id: sent.id, kind: "error", code: "overloaded", message });
      } else if (rate) {
        waiting = waiting.then(() => this.#rates.admit(rate, 1, this.#options.waitUntil));
      }
      const mine: Promise<void> = waiting.then(
        () => submit(sent),
        (error: unknown) => done(errorAnswer(sent.id, error)),
      );
      waiting = mine;
      const bytes = sent.value?.length ?? 0;
      waitingBytes += bytes;
      void mine.then(() => {
        waitingBytes -= bytes;
        if (waiting === mine) waiting = undefined;
      });
    };
  }
}

function keyLimitOf(view: TenantView, keyId: string | null): RateLimit | null | undefined {
  return view.keys.find((key) => key.keyId === keyId)?.rateLimit;
}

function errorAnswer(id: number, error: unknown): SessionAnswer {
  if (error instanceof PublicError) {
    return { id, kind: "error", code: error.code, message: error.message, details: error.details };
  }
  return { id, kind: "error", code: "internal", message: "an unexpected error" };
}
