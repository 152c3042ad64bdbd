// What the scenarios share: a tenant, memory readings, a recorder, checks.

import { JadeClient } from "../../../src/client/index.ts";
import { Recorder } from "../../bench/lib/measure.mjs";
import { treeMemoryBytes } from "../../lib/server-process.mjs";

export const MIB = 1024 * 1024;

/** A tenant with three replicas; gives its API key. */
export async function tenantKey(server) {
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const { apiKey } = await admin.tenants.create({ tenantId: "load", replicationFactor: 3 });
  admin.close();
  return apiKey;
}

export const recorder = (seconds, warmupSeconds = 0) => new Recorder({ warmupSeconds, seconds });

/** Watches the server's resident memory; `peak()` in MiB. */
export function watchMemory(server) {
  let peak = 0;
  const look = () => {
    peak = Math.max(peak, treeMemoryBytes(server.groupId));
  };
  look();
  const timer = setInterval(look, 200);
  return {
    nowMiB: () => Math.round(treeMemoryBytes(server.groupId) / MIB),
    peakMiB: () => Math.round(peak / MIB),
    stop: () => clearInterval(timer),
  };
}

export const atMost = (what, value, limit) => ({ what, value, limit: `≤ ${limit}`, ok: value <= limit });
export const atLeast = (what, value, limit) => ({ what, value, limit: `≥ ${limit}`, ok: value >= limit });
export const shown = (what, value) => ({ what, value, limit: "", ok: true });
