// What the handlers of one isolate share: settings, stubs, authentication, counters, log. Made once per isolate and configuration.
import type { Env } from "../../objects/env.ts";
import { withDeadline } from "../../objects/with-deadline.ts";
import { sha256Hex } from "../access/api-key.ts";
import { LEASE_DEADLINE_MS } from "../access/limits.ts";
import { RateGate } from "../access/rate-gate.ts";
import { parseSettings, type Settings } from "../cluster/settings.ts";
import { HttpMeter } from "../telemetry/http-meter.ts";
import { createLogger, type Logger, type LogLevel } from "../telemetry/logger.ts";
import { Authenticator } from "./authenticator.ts";
import { Background } from "./background.ts";
import { Load } from "./load.ts";
import { RandomPool } from "./random-pool.ts";
import { SharedReads } from "./shared-reads.ts";
import { Stubs } from "./stubs.ts";
import { TenantViews } from "./tenant-views.ts";
import { TokenVerifier } from "./token-verifier.ts";

export interface GatewayEnv extends Env {
  /** `root` = /metrics asks for the root key; anything else = it is open. */
  readonly JADE_METRICS_ACCESS?: string;
  /** The way to token issuers' keys, where the Worker's own fetch does not reach private addresses. */
  readonly TOKEN_KEYS?: Fetcher;
}

export interface Services {
  readonly env: GatewayEnv;
  readonly settings: Settings;
  readonly stubs: Stubs;
  /** Where requests come one by one; calls of sessions are gathered by their stubs. */
  readonly sharedReads: SharedReads | undefined;
  readonly authenticator: Authenticator;
  readonly rates: RateGate;
  readonly load: Load;
  readonly meter: HttpMeter;
  readonly log: Logger;
  readonly background: Background;
  readonly random: RandomPool;
  readonly now: () => number;
  readonly startedAtMs: number;
}

export interface ServiceOverrides {
  readonly now?: () => number;
  /** Where log lines go; default: standard output, several at once. */
  readonly write?: (level: LogLevel, line: string) => void;
  readonly stubs?: Stubs;
  readonly rates?: RateGate;
  /** Takes what was counted; default: the Coordinator. */
  readonly report?: (delta: Record<string, number>) => Promise<void>;
}

function ratesOf(stubs: Stubs, { now, random, meter }: Pick<Services, "now" | "random" | "meter">): RateGate {
  // Made at the first lease: workerd gives no randomness before the first request.
  let member: string | undefined;
  return new RateGate({
    now,
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    lease: (tenant, asks) => {
      member ??= random.hex(8);
      return withDeadline(stubs.tenant(tenant).lease(member, asks), LEASE_DEADLINE_MS, "Tenant");
    },
    onRefused: () => meter.count("jade_rate_limited_total"),
  });
}

export function createServices(env: GatewayEnv, overrides: ServiceOverrides = {}): Services {
  const now = overrides.now ?? Date.now;
  const settings = parseSettings(env.JADE_CONFIG);
  const stubs = overrides.stubs ?? new Stubs(env);
  const meter = new HttpMeter();
  const { report = (delta) => stubs.coordinator().reportGatewayMetrics(delta) } = overrides;
  const background = new Background({ meter, now, report });
  const write = overrides.write ?? ((level: LogLevel, line: string) => background.writeLine(level, line));
  const log = createLogger({ level: settings.log.level, now, write, fields: { part: "gateway" } });
  const count = (metric: string): void => meter.count(metric);
  const views = new TenantViews({
    stubs,
    now,
    staleMs: settings.auth.staleTenantViewMinutes * 60_000,
    onStale: () => count("jade_auth_stale_total"),
  });
  const rootKeyHash = async (): Promise<string | undefined> =>
    env.JADE_ROOT_KEY ? sha256Hex(env.JADE_ROOT_KEY) : env.JADE_ROOT_KEY_HASH?.toLowerCase();
  const random = new RandomPool();
  const rates = overrides.rates ?? ratesOf(stubs, { now, random, meter });
  const tokens = new TokenVerifier({
    settings: settings.auth,
    now,
    fetch: (url, init) => (env.TOKEN_KEYS ?? globalThis).fetch(url, init),
    count,
    onKeysFailure: (issuer, error) => log.warn("issuer's keys not fetched", { issuer }, error),
  });
  const authenticator = new Authenticator({ views, now, rootKeyHash, count, rates, tokens });
  const { maxRequestsInFlight: maxRequests, maxBodyMiBInFlight } = settings.limits;
  const load = new Load({ maxRequests, maxBytes: maxBodyMiBInFlight * 1024 * 1024, now, count });
  // Where the process is our own, as for the mailbox: other runtimes take a request whose answer another one brings for hung (ADR 83).
  const isOwnProcess = env.JADE_MODE === "single" || env.JADE_CLUSTER !== undefined;
  const sharedReads = isOwnProcess && !overrides.stubs ? new SharedReads() : undefined;
  const carried = { stubs, sharedReads, rates, load, meter, log, background };
  return { env, settings, ...carried, authenticator, random, now, startedAtMs: now() };
}
