// Runs the healer of one storage node: the way to the other nodes, the coordinator and the tenants, and when to try again.
// Guarantees: one try at a time; what could not be healed is tried again, ever more rarely. Must not: decide what may be healed.
import type { Caller, TenantView } from "../src/access/types.ts";
import { Healer, type HealingNetwork } from "../src/replication/healer.ts";
import { RecordHealer } from "../src/replication/record-healer.ts";
import type { Replica } from "../src/replication/replica.ts";
import { readScanPage } from "../src/replication/scan-frames.ts";
import type { SyncEnvironment } from "../src/replication/sync-job.ts";
import type { AtFailPoint } from "../src/storage/state.ts";
import type { CorruptRange, RepairableEngine } from "../src/storage/types.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import { ByteWriter } from "../src/wire/bytes.ts";
import { writeRequest } from "../src/wire/session.ts";
import type { Env } from "./env.ts";
import type { DirectoryAdminRpc } from "./tenancy-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** Pause before a try: a burst of unreadable blocks is healed together. Doubled after each try that left something. Ms. */
const FIRST_TRY_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
/** One call to another object. Ms. */
const CALL_TIMEOUT_MS = 10_000;
const TENANTS_PER_PAGE = 1000;

export interface HealOptions {
  readonly env: Env;
  readonly nodeId: string;
  readonly engine: RepairableEngine;
  readonly log: Logger;
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly atFailPoint: AtFailPoint | undefined;
  readonly replica: Replica;
  readonly sync: Pick<SyncEnvironment, "self" | "routeOf" | "page" | "call" | "horizon">;
  readonly isRebuilding: () => boolean;
  readonly healAfterMs: number;
}

function networkOf({ env, nodeId }: HealOptions): HealingNetwork {
  const directory = env.DIRECTORY.get(env.DIRECTORY.idFromName("system")) as DirectoryAdminRpc;
  const view = () => withDeadline(directory.view(), CALL_TIMEOUT_MS, "Directory");
  const tenantView = async (tenant: number): Promise<TenantView | null> => {
    const stub = env.TENANT.get(env.TENANT.idFromName(`t${tenant}`));
    const found = await withDeadline(stub.viewSince(null), CALL_TIMEOUT_MS, "Tenant");
    return found === "unchanged" ? null : found;
  };
  return {
    view,
    async scanKeys(peerId, scan) {
      const peer = env.KEY_VALUE_REPLICA.get(env.KEY_VALUE_REPLICA.idFromName(peerId));
      return readScanPage(await withDeadline(peer.scanKeys(scan), CALL_TIMEOUT_MS, peerId));
    },
    async read(tenant, rows) {
      const held = await tenantView(tenant);
      if (!held) return;
      const { replicationFactor, defaultConsistency, conflictPolicy } = held;
      const caller: Caller = { tenant, canWrite: false, replicationFactor, defaultConsistency, conflictPolicy };
      const writer = new ByteWriter(1024);
      rows.forEach(({ key }, id) => {
        writeRequest(writer, { id, op: "get", key, consistency: "all" });
      });
      const { nodes } = await view();
      const zone = nodes.find(({ id }) => id === nodeId)?.zone ?? "z1";
      const coordinator = env.COORDINATOR.get(env.COORDINATOR.idFromName(zone));
      await withDeadline(coordinator.call(caller, writer.take()), CALL_TIMEOUT_MS, "Coordinator");
    },
    route: async (tenant) => (await tenantView(tenant)) ?? undefined,
    async tenants() {
      const numbers: number[] = [];
      for (let after = ""; ; ) {
        const page = await directory.listTenants({ after, limit: TENANTS_PER_PAGE });
        numbers.push(...page.map(({ tenant }) => tenant));
        const last = page.at(-1);
        if (!last || page.length < TENANTS_PER_PAGE) return numbers;
        after = last.tenantId;
      }
    },
  };
}

export class ReplicaHeal {
  readonly #options: HealOptions;
  readonly #healer: Healer;
  #isScheduled = false;
  #pauseMs = FIRST_TRY_MS;

  constructor(options: HealOptions) {
    this.#options = options;
    const { nodeId, engine, atFailPoint, replica, sync, isRebuilding, healAfterMs } = options;
    const records = new RecordHealer({
      environment: sync,
      mayHeal: () => !isRebuilding(),
      now: Date.now,
      healAfterMs,
      unreadable: (keys) => replica.unreadableRecords(keys),
      healRows: (frame) => replica.handleHealing(frame),
      restore: (heard) => replica.restoreRecords(heard),
    });
    this.#healer = new Healer({ nodeId, engine, atFailPoint, network: networkOf(options), records });
  }

  /** The engine met an unreadable block. */
  found({ kind, blob, section }: CorruptRange): void {
    const { nodeId, log, replica } = this.#options;
    replica.digests.clear();
    log.error("a stored block is missing or fails its checksum", { node: nodeId, kind, blob, section });
    this.#pauseMs = FIRST_TRY_MS;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setTimeout(() => this.#options.waitUntil(this.#try()), this.#pauseMs);
  }

  async #try(): Promise<void> {
    const { nodeId, log, replica } = this.#options;
    let isDone = false;
    try {
      isDone = await this.#healer.run();
      // Rows that nobody could restore are gone now.
      replica.digests.clear();
      if (isDone) log.info("unreadable blocks were restored from the other replicas", { node: nodeId });
    } catch (error) {
      log.warn("healing failed; it will be tried again", { node: nodeId }, error);
    }
    this.#isScheduled = false;
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    if (!isDone) this.#schedule();
  }
}
