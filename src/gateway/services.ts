// What the handlers of one isolate share: settings, stubs, authentication, counters, log. Made once per isolate and configuration.
import type { Env } from "../../objects/env.ts";
import { sha256Hex } from "../access/api-key.ts";
import { parseSettings, type Settings } from "../cluster/settings.ts";
import { HttpMeter } from "../telemetry/http-meter.ts";
import { createLogger, type Logger, type LogLevel } from "../telemetry/logger.ts";
import { Authenticator } from "./authenticator.ts";
import { Background } from "./background.ts";
import { RandomPool } from "./random-pool.ts";
import { Stubs } from "./stubs.ts";
import { TenantViews } from "./tenant-views.ts";

export interface GatewayEnv extends Env {
  /** `root` = /metrics asks for the root key; anything else = it is open. */
  readonly JADE_METRICS_ACCESS?: string;
}

export interface Services {
  readonly env: GatewayEnv;
  readonly settings: Settings;
  readonly stubs: Stubs;
  readonly authenticator: Authenticator;
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
}

export function createServices(env: Env, overrides: ServiceOverrides = {}): Services {
  const now = overrides.now ?? Date.now;
  const settings = parseSettings(env.JADE_CONFIG);
  const stubs = new Stubs(env);
  const meter = new HttpMeter();
  const background = new Background({ meter, now, report: (delta) => stubs.coordinator().reportGatewayMetrics(delta) });
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
  const authenticator = new Authenticator({ views, now, rootKeyHash, count });
  const random = new RandomPool();
  return { env, settings, stubs, authenticator, meter, log, background, random, now, startedAtMs: now() };
}
