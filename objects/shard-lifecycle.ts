// What a shard of vectors keeps of the past, and what it lets go: snapshots as its configuration says, rows that are too old.
// Guarantees: a restore is done once, in the turn that stores its configuration. Must not: know timers.
import type { AwayBlocks } from "../src/vector/segment/away.ts";
import { type KeepExpired, retain } from "../src/vector/shard/retention.ts";
import type { ShardConfig, ShardLifecycle } from "../src/vector/shard/shard-config.ts";
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { VectorFacts } from "./vector-facts.ts";

const NOTHING_KEPT: ShardLifecycle = { snapshots: [], isArchived: false };

export interface Keeping {
  readonly facts: VectorFacts;
  /** From what is stored then. */
  readonly reopen: () => ShardDesk;
}

/** Takes and drops snapshots, and restores one, as the configuration says. In the turn that stores it. */
export function keepWhatIsAsked(
  { store }: ShardDesk,
  { lifecycle = NOTHING_KEPT }: ShardConfig,
  { facts, reopen }: Keeping,
): void {
  const { snapshots, restore, isUnsettled } = lifecycle;
  for (const id of store.snapshots.ids()) if (!snapshots.includes(id)) store.dropSnapshot(id);
  for (const id of snapshots) store.takeSnapshot(id);
  if (!restore || facts.get("restored") === restore.token) return;
  const rows = store.rewindTo(restore.snapshotId, restore.without);
  facts.forgetPlaces(isUnsettled === true);
  const desk = reopen();
  // What is restored is in no proportion to the memory: it goes in as it came out.
  desk.withoutBudget(() => desk.store.apply(rows.map((row) => ({ kind: "put", row }))));
  desk.store.endTurn();
  facts.set("restored", restore.token);
}

export interface LettingGo {
  readonly isOpen: () => boolean;
  readonly keep: KeepExpired;
  /** Gives why something cannot be here. */
  readonly fetch: (away: AwayBlocks) => Promise<unknown>;
}

/** Deletes what the database's retention no longer allows; `keep` gets it first where the database archives it. */
export async function letGo(
  { store }: ShardDesk,
  { retention }: ShardConfig,
  { isOpen, keep, fetch }: LettingGo,
): Promise<void> {
  if (!retention) return;
  const work = retain(store, retention, { nowMs: Date.now(), ...(retention.archives && { keep }) });
  for (let step = work.next(); !step.done; step = work.next()) {
    store.endTurn();
    if (step.value && (await fetch(step.value))) throw new Error("values of rows that expire could not be fetched");
    await new Promise((next) => setTimeout(next, 0));
    if (!isOpen()) return;
  }
}
