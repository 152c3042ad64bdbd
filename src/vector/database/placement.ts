// In which zones the copies of a database's shards stand.
// Guarantees: a shard's copies stand in distinct zones; a larger factor keeps those that there are; shards are spread over the zones.
// Must not: ask anybody.

/** Kept with the database's record. */
export interface Placement {
  /** Of the deployment when the factor was chosen, in order. */
  readonly zones: readonly string[];
  /** All in which copies may ever have been: where to look when they are to go. */
  readonly ever: readonly string[];
}

export interface PlacedRecord {
  readonly replication: { readonly factor: number };
  readonly placement?: Placement | undefined;
}

export function placementIn(zones: readonly string[], before?: Placement): Placement {
  const sorted = [...new Set(zones)].sort();
  return { zones: sorted, ever: [...new Set([...(before?.ever ?? []), ...sorted])].sort() };
}

/** The zones of a shard's followers: its leader is the first of `factor` copies, and stands nowhere. */
export function copyZones({ replication, placement }: PlacedRecord, shard: number): readonly string[] {
  const zones = placement?.zones ?? [];
  const count = Math.min(replication.factor, zones.length) - 1;
  return Array.from({ length: Math.max(0, count) }, (_, at) => zones[(shard + 1 + at) % zones.length]!);
}

/** Where a shard's copies may be that it should not have (any more). */
export function strayZones(record: PlacedRecord, shard: number): readonly string[] {
  const held = copyZones(record, shard);
  return (record.placement?.ever ?? []).filter((zone) => !held.includes(zone));
}

/** Name of a shard's copy. */
export function copyName(zone: string, shardName: string): string {
  return `${zone}/${shardName}`;
}
