// Asks every zone's disk before a Directory without history begins (src/cluster/birth.ts).
// Guarantees: its id is durable here before a zone is offered it; where it may not begin nothing calls it. Must not: hold up one with history.
import { judgeBirth, NOT_BORN } from "../src/cluster/birth.ts";
import { clusterPlace } from "../src/cluster/placement.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import type { DirectoryStore } from "./directory-store.ts";
import type { Env } from "./env.ts";
import { withDeadline } from "./with-deadline.ts";

/** One zone's answer. Ms. */
const ASK_TIMEOUT_MS = 2000;
/** Callers come again and again: the operator is told this often. Ms. */
const TELL_EVERY_MS = 30_000;

let toldAtMs = Number.NEGATIVE_INFINITY;

export interface BirthParts {
  readonly env: Env;
  readonly store: DirectoryStore;
  readonly storage: DurableObjectStorage;
  readonly log: Logger;
}

/** Throws while it may not begin. */
export async function ensureBorn({ env, store, storage, log }: BirthParts): Promise<void> {
  const place = clusterPlace(env.JADE_CLUSTER);
  const { id, isBorn } = store.deployment;
  // Elsewhere the Directory and the storage nodes lie on one disk, or are the platform's.
  if (isBorn || !place) return;
  await storage.sync();
  const asked = place.zones.map(async (zone) => {
    const known = env.ZONE_VIEWS.get(env.ZONE_VIEWS.idFromName(zone)).claimDeployment(id);
    return [zone, await withDeadline(known, ASK_TIMEOUT_MS, zone).catch(() => undefined)] as const;
  });
  const { refusal, waitsFor } = judgeBirth(id, Object.fromEntries(await Promise.all(asked)));
  if (refusal === undefined && waitsFor.length === 0) return storage.transactionSync(() => store.markBorn());
  const why = refusal ?? `a new deployment begins when every zone has answered once; missing: ${waitsFor.join(", ")}`;
  if (Date.now() - toldAtMs >= TELL_EVERY_MS) {
    toldAtMs = Date.now();
    log.error(`${NOT_BORN}: ${why}`);
  }
  throw new Error(`${NOT_BORN}: ${why}`);
}
