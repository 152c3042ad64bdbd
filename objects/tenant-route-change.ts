// Drives the change of a tenant's replication factor (replication/route-change.ts) from its object's timers and alarm.
// Guarantees: one step at a time; resumed by the alarm after any crash; stops with the tenant. Must not: decide anything.
import { Ring } from "../src/cluster/ring.ts";
import { RECORD_ROUTE_TIMEOUT_MS } from "../src/replication/limits.ts";
import { type ChangeEnvironment, stepChange } from "../src/replication/route-change.ts";
import { writePageRequest } from "../src/replication/sync-frames.ts";
import type { Env } from "./env.ts";
import type { RingHold } from "./rpc.ts";
import type { TenantStore } from "./tenant-store.ts";
import { withDeadline } from "./with-deadline.ts";

/** The alarm is the safety net for a change that an eviction interrupted; timers drive it while the object lives. Ms. */
export const ROUTE_CHANGE_ALARM_MS = 5000;
/** One call to a storage node or to the Directory. Ms. */
const CALL_TIMEOUT_MS = 5000;

export interface TenantRouteChangeOptions {
  readonly env: Env;
  readonly store: TenantStore;
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly setAlarm: (atMs: number) => Promise<void>;
}

export class TenantRouteChange {
  readonly #options: TenantRouteChangeOptions;
  #isRunning = false;

  constructor(options: TenantRouteChangeOptions) {
    this.#options = options;
  }

  /** Goes on with a change that is under way, unless it is going on. */
  wake(): void {
    const { store, waitUntil } = this.#options;
    if (this.#isRunning || !store.isChanging) return;
    this.#isRunning = true;
    waitUntil(
      this.#run().finally(() => {
        this.#isRunning = false;
      }),
    );
  }

  async #run(): Promise<void> {
    const { store, setAlarm } = this.#options;
    while (store.isChanging) {
      await setAlarm(Date.now() + ROUTE_CHANGE_ALARM_MS);
      const hold = this.#hold(store.row()!.tenant);
      const delayMs = await stepChange(this.#environment());
      if (delayMs === undefined || !store.isChanging) {
        // Where it is not heard the Directory asks, when it next wants the ring to change.
        const { replicationFactor } = store.row() ? store.changing().route : hold;
        await this.#directory.releaseRing({ ...hold, replicationFactor }).catch(() => undefined);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    }
  }

  get #directory() {
    const { DIRECTORY } = this.#options.env;
    return DIRECTORY.get(DIRECTORY.idFromName("system"));
  }

  #hold(tenant: number): RingHold {
    const { store } = this.#options;
    const change = store.isChanging ? store.changing().change : undefined;
    if (!change) throw new Error("nothing is under way any more");
    return { tenant, replicationFactor: Math.max(change.from, change.to), startedAtMs: change.startedAtMs };
  }

  #environment(): ChangeEnvironment {
    const { env, store } = this.#options;
    const { tenant } = store.row()!;
    const node = (id: string) => env.KEY_VALUE_REPLICA.get(env.KEY_VALUE_REPLICA.idFromName(id));
    return {
      tenant,
      ring: async () => {
        const { isHeld, view } = await withDeadline(
          this.#directory.holdRing(this.#hold(tenant)),
          CALL_TIMEOUT_MS,
          "Directory",
        );
        if (!isHeld)
          throw new Error("the storage nodes are being changed: GET /v1/cluster/operations tells how far that is");
        return new Ring(view.nodes, {}, view.ring);
      },
      recordRoute: async (nodeId, routeRevision) => {
        // An empty page: a node records the revision before it answers any.
        const request = writePageRequest({ kind: "rows", tenant, routeRevision, from: 0, to: 0, limit: 0 });
        await withDeadline(node(nodeId).page(request), RECORD_ROUTE_TIMEOUT_MS, nodeId);
      },
      sync: (nodeId, work) => withDeadline(node(nodeId).sync(work), CALL_TIMEOUT_MS, nodeId),
      endSync: (nodeId) => withDeadline(node(nodeId).endSync(tenant), CALL_TIMEOUT_MS, nodeId),
      now: Date.now,
      load: () => (store.isChanging ? store.changing() : { route: { replicationFactor: 1 }, change: undefined }),
      save: (changing) => {
        // Deleted meanwhile: nothing of it is driven any further.
        if (store.isChanging) store.saveChanging(changing);
      },
    };
  }
}
