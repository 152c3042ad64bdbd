// In which zones the copies of a database's shards stand, and how they come to others (ADR 74).
// Guarantees: a shard's copies stand in distinct zones; those that there are stay while their zone is good, whatever else changes; one that leaves serves until the
// one that takes its place has all; shards are spread over the zones. Must not: ask anybody.
import type { CopyZones } from "../../access/types.ts";
import { FILLED_AT_ONCE } from "./limits.ts";

/** Kept with the database's record. */
export interface Placement {
  /** Where copies may stay, when that was last heard of. */
  readonly zones: readonly string[];
  /** All in which copies may ever have been: where to look when they are to go. */
  readonly ever: readonly string[];
  /** Shard → zones of the copies that serve. Absent, and beyond it: by turns. */
  readonly shards?: readonly (readonly string[])[] | undefined;
  /** Shard → zones of copies that are being filled: nobody reads them. Absent = none is. */
  readonly filling?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Zones where a copy that is to go could not be reached. */
  readonly owed?: readonly string[] | undefined;
}

export interface PlacedRecord {
  readonly replication: { readonly factor: number };
  readonly placement?: Placement | undefined;
}

/** Of a database that is new: its copies have nothing to be filled with. */
export function placementIn({ zones, fresh }: CopyZones, factor: number): Placement {
  const chosen = [...new Set(fresh.length >= factor ? fresh : zones)].sort();
  return { zones: chosen, ever: factor > 1 ? chosen : [] };
}

/** The zones that each shard has by turns. */
function byTurns(zones: readonly string[], factor: number, shard: number): readonly string[] {
  const count = Math.min(factor, zones.length) - 1;
  return Array.from({ length: Math.max(0, count) }, (_, at) => zones[(shard + 1 + at) % zones.length]!);
}

/** The zones of a shard's followers that serve: its leader is the first of `factor` copies, and stands nowhere. */
export function copyZones({ replication, placement }: PlacedRecord, shard: number): readonly string[] {
  return placement?.shards?.[shard] ?? byTurns(placement?.zones ?? [], replication.factor, shard);
}

/** Those of followers that are being filled. */
export function fillingZones({ placement }: PlacedRecord, shard: number): readonly string[] {
  return placement?.filling?.[shard] ?? [];
}

/** Where a shard's copies may be that it should not have (any more). */
export function strayZones(record: PlacedRecord, shard: number): readonly string[] {
  const held = [...copyZones(record, shard), ...fillingZones(record, shard)];
  return (record.placement?.ever ?? []).filter((zone) => !held.includes(zone));
}

export interface PlacementStep {
  /** What the factor is to be; left out: what it is. */
  readonly factor?: number;
  readonly shardCount: number;
  readonly known: CopyZones;
  /** Shard → zones whose copies were filled. */
  readonly filled: ReadonlyMap<number, readonly string[]>;
}

/** Where the copies are to be next: those that were filled serve, those that are not needed any more go, and some that are missing are begun. */
export function steppedPlacement(record: PlacedRecord, step: PlacementStep): Placement {
  const { shardCount, known, filled, factor = record.replication.factor } = step;
  const zones = [...new Set(known.zones)].sort();
  const shards = Array.from({ length: shardCount }, (_, shard) => {
    const coming = fillingZones(record, shard).filter((zone) => zones.includes(zone));
    const arrived = coming.filter((zone) => filled.get(shard)?.includes(zone));
    const serving = [
      ...copyZones(record, shard),
      ...arrived.filter((zone) => !copyZones(record, shard).includes(zone)),
    ];
    const good = serving.filter((zone) => zones.includes(zone)).slice(0, factor - 1);
    const bad = serving.filter((zone) => !zones.includes(zone)).slice(0, factor - 1 - good.length);
    const needed = factor - 1 - good.length;
    return { good, bad, coming: coming.filter((zone) => !arrived.includes(zone)).slice(0, needed), needed };
  });
  const loads = new Map<string, number>();
  const load = (zone: string, more = 0): number => {
    loads.set(zone, (loads.get(zone) ?? 0) + more);
    return loads.get(zone)!;
  };
  for (const { good, coming } of shards) for (const zone of [...good, ...coming]) load(zone, 1);
  let open = shards.filter(({ coming }) => coming.length > 0).length;
  for (const [shard, { good, coming, needed }] of shards.entries()) {
    if (coming.length >= needed || (coming.length === 0 && open >= FILLED_AT_ONCE)) continue;
    // By turns, where loads are the same.
    const turn = (zone: string): number =>
      (known.fresh.indexOf(zone) + (shard + 1) * (known.fresh.length - 1)) % known.fresh.length;
    const free = known.fresh.filter((zone) => zones.includes(zone) && !good.includes(zone) && !coming.includes(zone));
    const order = free.sort((a, b) => load(a) - load(b) || turn(a) - turn(b));
    if (coming.length === 0 && order.length > 0) open++;
    for (const zone of order.slice(0, needed - coming.length)) {
      coming.push(zone);
      load(zone, 1);
    }
  }
  return placed({ replication: { factor }, placement: record.placement }, zones, shards);
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((zone) => b.includes(zone));
}

interface ShardStep {
  readonly good: readonly string[];
  readonly bad: readonly string[];
  readonly coming: readonly string[];
}

/** As short as it can be told. */
function placed(
  { replication, placement }: PlacedRecord,
  zones: readonly string[],
  shards: readonly ShardStep[],
): Placement {
  const { factor } = replication;
  const held = shards.map(({ good, bad }) => [...good, ...bad]);
  const isByTurns = held.every((own, shard) => isSame(own, byTurns(zones, factor, shard)));
  const filling = shards.flatMap(({ coming }, shard) => (coming.length > 0 ? [[String(shard), coming] as const] : []));
  const ever = [...(placement?.ever ?? []), ...(factor > 1 ? zones : []), ...held.flat()];
  return {
    zones,
    ever: [...new Set(ever)].sort(),
    ...(!isByTurns && { shards: held }),
    ...(filling.length > 0 && { filling: Object.fromEntries(filling) }),
    ...(placement?.owed && { owed: placement.owed }),
  };
}

/** Where copies stand and come, whatever is remembered besides. */
export function isSamePlaced(a: PlacedRecord, b: PlacedRecord, shardCount: number): boolean {
  const told = (record: PlacedRecord): string =>
    JSON.stringify(
      Array.from({ length: shardCount }, (_, shard) => [copyZones(record, shard), fillingZones(record, shard)]),
    );
  return told(a) === told(b);
}

/** What could not be reached is kept with it. */
export function withOwed({ owed: _, ...placement }: Placement, owed: readonly string[]): Placement {
  return owed.length === 0 ? placement : { ...placement, owed: [...new Set(owed)].sort() };
}

/** Copies on their way. */
export function fillingCount({ filling = {} }: Placement): number {
  return Object.values(filling).reduce((sum, zones) => sum + zones.length, 0);
}

/** Name of a shard's copy. */
export function copyName(zone: string, shardName: string): string {
  return `${zone}/${shardName}`;
}
