// The consistent-hash ring: which storage nodes hold a token, in order of preference, and who may count in a quorum.
// Guarantees: replicas stand in distinct zones while there are enough zones; the same nodes give the same ring everywhere;
// bootstrapping nodes get writes but never count and are never read (DESIGN 3, 4). Must not: know how a node is reached.
import type { NodeState, RingState, StorageNode, TenantRoute } from "../access/types.ts";
import type { Token } from "../storage/types.ts";
import { positionCount } from "./positions.ts";
import { tokenOf } from "./token.ts";

/** `write` = counts towards W; `read` = asked by reads, counts towards R; `pending` = gets writes, never counts. Ordered by preference. */
export interface ReplicaSets {
  readonly write: readonly string[];
  readonly read: readonly string[];
  readonly pending: readonly string[];
  /** While the replication factor or the ring changes: the new replicas, of which reads and writes need a quorum too. Stamps are not theirs. */
  readonly joint?: readonly string[] | undefined;
}

/** Tokens whose high word is in [fromHi, toHi], both inclusive. */
export interface TokenRange {
  readonly fromHi: number;
  readonly toHi: number;
}

interface Position {
  readonly hi: number;
  readonly node: StorageNode;
  /** It counts today; it will when the change under way is over. */
  readonly isPresent: boolean;
  readonly isNext: boolean;
}

/** Whose replicas to prefer. The sets stay the same; only their order changes. */
export interface Preference {
  /** Reads ask this zone's replicas first. */
  readonly readZone?: string | undefined;
  /**
   * Writes are stamped in this zone where it holds a replica. Only for the sole coordinator of a deployment: where there are
   * several, all must stamp a key at the same replica, or writes without a context that follow each other become siblings.
   */
  readonly stampZone?: string | undefined;
}

const MAY_READ = new Set(["active", "rebuilding", "draining", "failed"]);
const MAY_STAY = new Set(["active", "rebuilding", "bootstrapping"]);
/** They have no places. */
export const OFF_RING: ReadonlySet<NodeState> = new Set(["leaving", "removed"]);

const UNCHANGED: RingState = { revision: 0 };

const LAST_HI = 0xffff_ffff;

/** Positions of a node of weight 1 whose record has none: data lies where these say, so they never change. */
const HASHED_PER_WEIGHT = 64;

/** Where a node stands: what was chosen when it was added, else what its number says. */
export function positionsOf({ number, weight, positions }: StorageNode): readonly number[] {
  if (positions) return positions;
  const count = positionCount(weight, HASHED_PER_WEIGHT);
  return Array.from({ length: count }, (_, i) => tokenOf(number, `ring/${i}`).hi);
}

function placesOf(node: StorageNode): Position[] {
  const isPresent = MAY_READ.has(node.state);
  const isNext = MAY_STAY.has(node.state);
  const { next } = node;
  const present = positionsOf(node).map((hi) => ({ hi, node, isPresent, isNext: isNext && !next }));
  return next ? [...present, ...next.positions.map((hi) => ({ hi, node, isPresent: false, isNext }))] : present;
}

export class Ring {
  /** Those with places. */
  readonly nodes: readonly StorageNode[];
  /** Those that ever were, too: clocks name them. */
  readonly known: readonly StorageNode[];
  readonly state: RingState;
  readonly #positions: readonly Position[];
  readonly #setsByFactor = new Map<number, (ReplicaSets | undefined)[]>();

  readonly #preference: Preference;

  constructor(nodes: readonly StorageNode[], preference: Preference = {}, state: RingState = UNCHANGED) {
    this.#preference = preference;
    this.state = state;
    this.known = nodes;
    this.nodes = nodes.filter((node) => !OFF_RING.has(node.state));
    const positions = this.nodes.flatMap(placesOf);
    this.#positions = positions.sort((a, b) => a.hi - b.hi || a.node.number - b.node.number);
  }

  /** First position at or after the token, wrapping. */
  #indexOf(token: Token): number {
    let low = 0;
    let high = this.#positions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#positions[middle]!.hi < token.hi) low = middle + 1;
      else high = middle;
    }
    return low === this.#positions.length ? 0 : low;
  }

  replicas(token: Token, replicationFactor: number): ReplicaSets {
    let sets = this.#setsByFactor.get(replicationFactor);
    if (!sets) {
      sets = new Array<ReplicaSets | undefined>(this.#positions.length);
      this.#setsByFactor.set(replicationFactor, sets);
    }
    const index = this.#indexOf(token);
    const known = sets[index];
    if (known) return known;
    const made = this.#walk(index, replicationFactor);
    sets[index] = made;
    return made;
  }

  /** The replicas of a token while the tenant's route is this one. Of factor and ring one changes at a time (spec RP-122). */
  route(token: Token, route: TenantRoute): ReplicaSets {
    const sets = this.replicas(token, route.replicationFactor);
    const { change } = route;
    if (change === undefined) return sets;
    const next = this.replicas(token, change.to).write;
    const joining = next.filter((id) => !sets.write.includes(id) && !sets.pending.includes(id));
    if (change.phase === "filling") return { ...sets, pending: [...sets.pending, ...joining] };
    return { ...sets, joint: next };
  }

  /** Ranges that together are the whole ring; within one every token has the same replicas, whatever the factor. Ascending. */
  ranges(): TokenRange[] {
    const ranges: TokenRange[] = [];
    let fromHi = 0;
    for (const { hi } of this.#positions) {
      if (hi < fromHi) continue;
      ranges.push({ fromHi, toHi: hi });
      fromHi = hi + 1;
    }
    if (fromHi <= LAST_HI) ranges.push({ fromHi, toHi: LAST_HI });
    return ranges;
  }

  #walk(start: number, replicationFactor: number): ReplicaSets {
    const counted = this.#choose(start, replicationFactor, ({ isPresent }) => isPresent);
    const future = this.#choose(start, replicationFactor, ({ isNext }) => isNext);
    const joining = future.filter((node) => !counted.includes(node)).map((node) => node.id);
    const { readZone, stampZone } = this.#preference;
    const sets = { write: zoneFirst(counted, stampZone), read: zoneFirst(counted, readZone), pending: joining };
    const isSame = joining.length === 0 && counted.length === future.length;
    if (this.state.phase !== "joint" || isSame) return sets;
    return { ...sets, pending: [], joint: future.map((node) => node.id) };
  }

  /** Nodes in ring order, one per zone first, then any where there are fewer zones than replicas. */
  #choose(start: number, count: number, allowed: (position: Position) => boolean): StorageNode[] {
    const chosen: StorageNode[] = [];
    const spare: StorageNode[] = [];
    const zones = new Set<string>();
    for (let i = 0; i < this.#positions.length && chosen.length < count; i++) {
      const position = this.#positions[(start + i) % this.#positions.length]!;
      const { node } = position;
      if (!allowed(position) || chosen.includes(node) || spare.includes(node)) continue;
      if (zones.has(node.zone)) {
        spare.push(node);
      } else {
        zones.add(node.zone);
        chosen.push(node);
      }
    }
    while (chosen.length < count && spare.length > 0) chosen.push(spare.shift()!);
    return chosen;
  }
}

function zoneFirst(nodes: readonly StorageNode[], zone: string | undefined): string[] {
  const near = nodes.filter((node) => node.zone === zone);
  const far = nodes.filter((node) => node.zone !== zone);
  return [...near, ...far].map((node) => node.id);
}
