// What a database's record knows of its past: snapshots, restores, its archive.
// Must not: decide (keeping.ts, and the tenant's object).

export interface KeptSnapshot {
  readonly snapshotId: string;
  readonly createdAtMs: number;
  /** Where rows are placed: all were where they belong. Absent = it was taken while rows may have moved. */
  readonly isSettled?: boolean | undefined;
}

export interface Lifecycle {
  readonly snapshots: readonly KeptSnapshot[];
  /** The restore that was asked for last: each shard does it once. */
  readonly restore?: RestoreOfAll | undefined;
  readonly isArchived: boolean;
  /** What the last restore from the archive met: the database stayed archived. */
  readonly damage?: readonly ShardDamage[] | undefined;
  /** Where rows are placed: what is done in phases (keeping.ts); which of these it is, from 1; the one in which the last restore began. */
  readonly underWay?: UnderWay | undefined;
  readonly step?: number | undefined;
  readonly era?: number | undefined;
}

export interface RestoreOfAll {
  readonly snapshotId: string;
  readonly token: string;
  /** Damaged parts of shards' snapshots that are left out. */
  readonly without?: readonly LeftOut[] | undefined;
}

export interface LeftOut {
  readonly shard: number;
  readonly part: number;
}

export interface ShardDamage {
  readonly shard: number;
  readonly message: string;
}

export const NO_LIFECYCLE: Lifecycle = { snapshots: [], isArchived: false };

/** What all shards are brought through. */
export type UnderWay =
  | { readonly kind: "snapshot"; readonly phase: "holding" | "taking"; readonly snapshot: KeptSnapshot }
  | { readonly kind: "restore"; readonly phase: "holding" | "rewinding" | "placing" | "settling" };
