// The watches of a keyspace, at its owner or at a copy: the desk with the object's sockets, tables and clock. Must not: hold state.
import { VIEW_WAIT_MS } from "../src/access/limits.ts";
import type { Settings } from "../src/cluster/settings.ts";
import type { Crc32c } from "../src/config/record.ts";
import { WatchRows } from "../src/config/watch-rows.ts";
import { configSql } from "./config-sql.ts";
import type { Env } from "./env.ts";
import { type Holder, noteHolder } from "./leaving.ts";
import { WatchDesk, type WatchDeskOptions } from "./watch-desk.ts";
import { withDeadline } from "./with-deadline.ts";

/** How long a look at watchers' credentials may take. Ms. */
const GUARD_DEADLINE_MS = VIEW_WAIT_MS + 1000;
/** Until close frames are sent and turns answered. Ms. */
const LEAVE_MS = 300;

export interface KeyspaceWatchesOptions extends Pick<WatchDeskOptions, "source" | "hibernateAfterMs" | "copy"> {
  readonly ctx: DurableObjectState;
  readonly env: Env;
  readonly holder: Holder;
  readonly settings: Settings;
  readonly crc32c: Crc32c;
}

export function openWatches({ ctx, env, holder, settings, crc32c, ...options }: KeyspaceWatchesOptions): WatchDesk {
  const { auth, config } = settings;
  const tenant = (number: number) => env.TENANT.get(env.TENANT.idFromName(`t${number}`));
  return new WatchDesk({
    ...options,
    ctx,
    rows: new WatchRows(configSql(ctx.storage), crc32c),
    viewSince: (number, revision, waitMs) =>
      withDeadline(tenant(number).viewSince(revision, waitMs), GUARD_DEADLINE_MS, "Tenant"),
    staleMs: auth.staleTenantViewMinutes * 60_000,
    maxConnections: config.maxWatchConnections,
    onHolding: (hasConnections) => noteHolder(holder, ctx.id.name, hasConnections),
    now: Date.now,
    later: (delayMs, run) => void setTimeout(run, delayMs),
  });
}

/** The process stops. What was answered is durable; what is not answered by the end of {@link LEAVE_MS} has an unknown outcome, as at any stop. */
export function leaveWatches(ctx: DurableObjectState, watches: WatchDesk): void {
  watches.leave();
  // A hibernatable socket that we closed stays until its object goes, and workerd would wait for it.
  setTimeout(() => ctx.abort("the process stops"), LEAVE_MS);
}
