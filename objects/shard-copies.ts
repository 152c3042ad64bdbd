// A shard's leader and its followers: what they pull, what they have durably, who must be woken.
// Guarantees: a follower counts as having a commit only when it asked for what follows it, from a log that is this one's.
// Must not: apply anything.
import { copyName } from "../src/vector/database/placement.ts";
import type { BlobAsk } from "../src/vector/replica/blob-checks.ts";
import { type CopyPlace, writeBlobs, writeCopyShipment, writeShippedManifest } from "../src/vector/replica/frames.ts";
import { CopyLeader, type CopyLeaderOptions } from "../src/vector/replica/leader.ts";
import type { ReplicationConfig } from "../src/vector/shard/shard-config.ts";
import type { ReplicaStatus, ShardStatus } from "../src/vector/shard/shard-status.ts";
import type { VectorStore } from "../src/vector/shard/vector-store.ts";
import type { VectorAnswer, VectorCall, VectorFailure } from "../src/wire/vector.ts";
import type { Env } from "./env.ts";
import { atMost } from "./keyspace-answers.ts";
import { PageCompression } from "./page-compression.ts";
import type { VectorFollowerRpc } from "./vector-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

/** How long a write of a database with `sync` waits for the followers. Ms. */
const CONFIRM_MS = 5000;
/** A follower that does not pull is woken so often while somebody waits for it. Ms. */
const WAKE_MS = 250;
const WAKE_DEADLINE_MS = 2000;

interface Seen {
  /** What it has durably. */
  revision: number;
  /** When it last had all that there was. */
  caughtUpMs: number;
  /** Pulls that wait for something new. */
  waiting: number;
  isWaking: boolean;
}

export interface ShardCopiesOptions {
  readonly env: Env;
  readonly shardName: string;
  readonly now: () => number;
}

export class ShardCopies {
  readonly #options: ShardCopiesOptions;
  readonly #pages = new PageCompression();
  #leader: CopyLeader | undefined;
  #store: VectorStore | undefined;
  #config: ReplicationConfig | undefined;
  readonly #seen = new Map<string, Seen>();
  /** Called when a follower has more. */
  #confirming = new Set<() => void>();

  constructor(options: ShardCopiesOptions) {
    this.#options = options;
  }

  /** The store was opened, or its configuration changed. */
  opened(options: CopyLeaderOptions, config: ReplicationConfig | undefined): void {
    if (this.#store !== options.store) this.#endLeader();
    this.#store = options.store;
    this.#config = config;
    for (const zone of this.#seen.keys()) if (!config?.zones.includes(zone)) this.#seen.delete(zone);
    if (!config || config.zones.length === 0) return;
    this.#leader ??= new CopyLeader(options);
    for (const zone of config.zones) {
      const seen = { revision: 0, caughtUpMs: this.#options.now(), waiting: 0, isWaking: false };
      if (!this.#seen.has(zone)) this.#seen.set(zone, seen);
    }
  }

  /** Pulls that wait at it would hear of nothing any more. */
  #endLeader(): void {
    const leader = this.#leader;
    this.#leader = undefined;
    leader?.wake();
  }

  closed(): void {
    this.#endLeader();
    this.#store = undefined;
    this.#config = undefined;
    this.#seen.clear();
  }

  get zones(): readonly string[] {
    return this.#config?.zones ?? [];
  }

  /** The list of segments has changed. */
  wakeAll(): void {
    this.#leader?.wake();
  }

  /** Something was logged: those that do not wait for it are told to ask. */
  logged(): void {
    for (const zone of this.zones) this.#wake(zone);
  }

  /** Null: it is no follower of this shard (any more). */
  async pull(zone: string, place: CopyPlace, waitMs: number): Promise<Uint8Array | null> {
    const leader = this.#leader;
    const seen = this.#seen.get(zone);
    if (!leader || !seen) return null;
    this.#confirm(seen, leader, place);
    // What was acknowledged before it is logged counts: a copy that says it has all must have it.
    this.#store!.endTurn();
    if (waitMs > 0 && leader.isUpToDate(place)) {
      seen.waiting++;
      await atMost(waitMs, (wake) => leader.atNextChange(wake));
      seen.waiting--;
      if (this.#leader !== leader) return null;
    }
    return await this.#pages.pack(writeCopyShipment(leader.next(place)));
  }

  /** It asks for what follows its place, so it has that durably; a place of another log says nothing. */
  #confirm(seen: Seen, leader: CopyLeader, place: CopyPlace): void {
    if (!leader.isOfThisLog(place)) return;
    seen.revision = place.seq;
    if (place.seq >= this.#store!.log.last.revision) seen.caughtUpMs = this.#options.now();
    for (const wake of [...this.#confirming]) wake();
  }

  manifest(): Uint8Array | null {
    return this.#leader ? writeShippedManifest(this.#leader.manifest()) : null;
  }

  blobs(asks: readonly BlobAsk[]): Uint8Array | null {
    return this.#leader ? writeBlobs(this.#leader.blobs(asks)) : null;
  }

  /** Waits until as many followers as are asked for have this commit durably. Gives the zones of those that did not in time. */
  async confirmed(revision: number): Promise<readonly string[]> {
    const untilMs = this.#options.now() + CONFIRM_MS;
    for (;;) {
      const behind = this.zones.filter((zone) => (this.#seen.get(zone)?.revision ?? 0) < revision);
      const leftMs = untilMs - this.#options.now();
      // While a copy moves there are more than that: the one that leaves counts until the other has come.
      const isEnough = this.zones.length - behind.length >= (this.#config?.confirmations ?? this.zones.length);
      if (isEnough) return [];
      if (leftMs <= 0) return behind;
      for (const zone of behind) this.#wake(zone);
      await atMost(Math.min(leftMs, WAKE_MS), (wake) => {
        this.#confirming.add(wake);
        return () => this.#confirming.delete(wake);
      });
    }
  }

  /** Where a write is only answered with its followers, and one of them does not say in time that it has it. */
  async unconfirmed(answer: VectorAnswer): Promise<VectorFailure | undefined> {
    if (!this.#config?.sync || answer.kind !== "written") return undefined;
    const zones = await this.confirmed(answer.revision);
    if (zones.length === 0) return undefined;
    const message = `applied and durable here, but not confirmed within ${CONFIRM_MS} ms by the copies in ${zones.join(", ")}: repeat it with the same Idempotency-Key`;
    return { kind: "error", code: "unknownOutcome", message, details: { zones } };
  }

  /** A shard's status tells of the followers, too; that of its imports does not. */
  withReplicas({ request }: VectorCall, answer: VectorAnswer): VectorAnswer {
    if (request.kind !== "status" || answer.kind !== "status" || this.zones.length === 0) return answer;
    const status = { ...(JSON.parse(answer.status) as ShardStatus), replicas: this.status() };
    return { ...answer, status: JSON.stringify(status) };
  }

  #wake(zone: string): void {
    const seen = this.#seen.get(zone);
    if (!seen || seen.waiting > 0 || seen.isWaking) return;
    seen.isWaking = true;
    const done = (): void => {
      seen.isWaking = false;
    };
    // One that is away is woken by the next write, or asked for by the next read.
    withDeadline(this.follower(zone).wake(), WAKE_DEADLINE_MS, "VectorFollower").then(done, done);
  }

  follower(zone: string): VectorFollowerRpc {
    const objects = this.#options.env.VECTOR_FOLLOWER;
    return objects.get(objects.idFromName(copyName(zone, this.#options.shardName)));
  }

  status(): readonly ReplicaStatus[] {
    const { last } = this.#store?.log ?? {};
    const nowMs = this.#options.now();
    return [...this.#seen].map(([zone, { revision, caughtUpMs }]) => {
      const lagRevisions = Math.max(0, (last?.revision ?? 0) - revision);
      const state = this.#config?.filling?.includes(zone) ? "filling" : "serving";
      return { zone, state, revision, lagRevisions, lagMs: lagRevisions === 0 ? 0 : nowMs - caughtUpMs };
    });
  }
}
