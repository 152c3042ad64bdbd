// What a replica holds of ranges of hashes, one digest a tenant: by these, replicas find where they differ (docs/adr/0080).
// Guarantees: what is purged is not in a digest, so replicas that hold the same have the same; a kept digest is of what is held: whatever is put
// forgets that of its place, and a moved horizon forgets all; work for one answer and memory are bounded.
// Must not: outlive the process, or be kept when rows may have vanished (an unreadable block).
import type { TokenRange } from "../cluster/ring.ts";
import { isPurgeable } from "../kv/purge.ts";
import type { RowKey, StorageEngine } from "../storage/types.ts";
import {
  DIGEST_LEAF_BITS,
  MAX_ANSWERED_DIGESTS,
  MAX_KEPT_DIGESTS,
  MAX_KEPT_OF_LEAF,
  SYNC_DIGEST_BYTES,
  SYNC_PAGE_BYTES,
  SYNC_PAGE_ROWS,
} from "./limits.ts";
import { type DigestPart, digestOf, type RangeDigest } from "./sync-frames.ts";

export interface DigestAnswer {
  /** Of the parts asked for, in their order; the last may be cut short, those behind are left out. */
  readonly parts: readonly DigestPart[];
  readonly rowsRead: number;
}

export interface DigestQuestion {
  /** Nothing that is kept is believed: all is read. */
  readonly isFresh: boolean;
  readonly horizon: number;
  /** Rows to read at most, but for the last leaf; a page without any counts as one. */
  readonly limitRows: number;
}

type Sums = Map<number, { count: number; hi: number; lo: number }>;

interface Piece {
  readonly fromHi: number;
  readonly toHi: number;
  readonly digests: readonly RangeDigest[];
}

interface Work extends DigestQuestion {
  rowsLeft: number;
  bytesLeft: number;
  rowsRead: number;
}

/** Stands for each leaf. */
const ALL_LEAVES = -1;

/** The last step of murmur3: every bit of the input changes half of the output's. */
function mixed(word: number): number {
  let x = word;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

function addTo(sums: Sums, { tenant, count, hi, lo }: RangeDigest): void {
  const held = sums.get(tenant);
  if (!held) return void sums.set(tenant, { count, hi, lo });
  held.count += count;
  held.hi = (held.hi + hi) >>> 0;
  held.lo = (held.lo + lo) >>> 0;
}

function listed(sums: Sums): RangeDigest[] {
  const digests = [...sums].map(([tenant, { count, hi, lo }]) => ({ tenant, count, hi, lo }));
  return digests.sort((a, b) => a.tenant - b.tenant);
}

export class RangeDigests {
  readonly #engine: Pick<StorageEngine, "scan">;
  readonly #leafBits: number;
  /** Leaf → digests of stretches of it: of the whole, or where a range of the ring ends within it. */
  readonly #kept = new Map<number, Piece[]>();
  #keptCount = 0;
  /** Of what is kept. */
  horizon = 0;
  /** Leaves that were put into while they were read. */
  readonly #readings = new Set<Set<number>>();

  constructor(engine: Pick<StorageEngine, "scan">, leafBits: number = DIGEST_LEAF_BITS) {
    this.#engine = engine;
    this.#leafBits = leafBits;
  }

  #leafOf(hi: number): number {
    return hi >>> this.#leafBits;
  }

  /** The last place of the leaf. */
  #endOf(hi: number): number {
    return (this.#leafOf(hi) + 1) * 2 ** this.#leafBits - 1;
  }

  /** A row with this place was put. In the turn that puts it. */
  touch(tokenHi: number): void {
    if (this.#kept.size === 0 && this.#readings.size === 0) return;
    const leaf = this.#leafOf(tokenHi);
    this.#forget(leaf);
    for (const reading of this.#readings) reading.add(leaf);
  }

  /** Nothing that was read so far is believed. */
  clear(): void {
    this.#kept.clear();
    this.#keptCount = 0;
    for (const reading of this.#readings) reading.add(ALL_LEAVES);
  }

  /** What was purged meanwhile is in what is kept. */
  useHorizon(horizon: number): void {
    if (horizon === this.horizon) return;
    this.clear();
    this.horizon = horizon;
  }

  /** What is kept: stretches with their digests. */
  *kept(): Iterable<Piece> {
    for (const pieces of this.#kept.values()) yield* pieces;
  }

  /** 64 bits of a row: its place and its state. */
  ofRow(row: RowKey, state: Uint8Array): { readonly hi: number; readonly lo: number } {
    const { hi, lo } = digestOf(row, state);
    return { hi: mixed(hi ^ Math.imul(row.token.hi, 0x239b961b)), lo: mixed(lo ^ Math.imul(row.token.lo, 0xab0e9789)) };
  }

  async answer(parts: readonly TokenRange[], question: DigestQuestion): Promise<DigestAnswer> {
    this.useHorizon(question.horizon);
    const work = { ...question, rowsLeft: question.limitRows, bytesLeft: SYNC_DIGEST_BYTES, rowsRead: 0 };
    const answered: DigestPart[] = [];
    let digestCount = 0;
    for (const part of parts) {
      const walked = await this.#walk(part, work);
      if (!walked) break;
      answered.push(walked);
      digestCount += walked.digests.length;
      if (walked.toHi < part.toHi || digestCount > MAX_ANSWERED_DIGESTS) break;
    }
    return { parts: answered, rowsRead: work.rowsRead };
  }

  async #walk({ fromHi, toHi }: TokenRange, work: Work): Promise<DigestPart | undefined> {
    const sums: Sums = new Map();
    let at = fromHi;
    while (at <= toHi) {
      const end = Math.min(toHi, this.#endOf(at));
      const mayBelieve = !work.isFresh && work.horizon === this.horizon;
      const kept = mayBelieve ? this.#find(at, end) : undefined;
      if (kept) {
        for (const digest of kept.digests) addTo(sums, digest);
        at = end + 1;
      } else if (work.rowsLeft > 0 && work.bytesLeft > 0) {
        at = await this.#read({ fromHi: at, toHi }, { work, sums });
      } else break;
    }
    return at > fromHi ? { toHi: at - 1, digests: listed(sums) } : undefined;
  }

  /** Reads whole leaves, at least one, until the work is done or the next one is kept. Returns where it goes on. */
  async #read({ fromHi, toHi }: TokenRange, { work, sums }: { work: Work; sums: Sums }): Promise<number> {
    const touched = new Set<number>();
    this.#readings.add(touched);
    const lastHi = work.isFresh ? toHi : this.#gapEnd(fromHi, toHi);
    let at = fromHi;
    let open: Sums = new Map();
    const close = (): void => {
      const toHi = Math.min(lastHi, this.#endOf(at));
      const digests = listed(open);
      for (const digest of digests) addTo(sums, digest);
      const isOutdated = touched.has(this.#leafOf(at)) || touched.has(ALL_LEAVES) || this.horizon !== work.horizon;
      if (!isOutdated) this.#keep({ fromHi: at, toHi, digests });
      at = toHi + 1;
      open = new Map();
    };
    try {
      for (let after: RowKey | undefined; ; ) {
        const page = await this.#engine.scan({
          ...{ fromTokenHi: fromHi, toTokenHi: lastHi, limitRows: SYNC_PAGE_ROWS, limitBytes: SYNC_PAGE_BYTES },
          ...(after ? { after } : {}),
        });
        for (const { row, value } of page.rows) {
          while (row.token.hi > this.#endOf(at)) close();
          work.bytesLeft -= value.length;
          if (!isPurgeable(value, work.horizon))
            addTo(open, { tenant: row.tenant, count: 1, ...this.ofRow(row, value) });
        }
        work.rowsLeft -= Math.max(1, page.rows.length);
        work.rowsRead += page.rows.length;
        after = page.rows.at(-1)?.row ?? after;
        if (page.done) while (at <= lastHi) close();
        const isSpent = work.rowsLeft <= 0 || work.bytesLeft <= 0;
        if (at > lastHi || (isSpent && at > fromHi)) return at;
      }
    } finally {
      this.#readings.delete(touched);
    }
  }

  /** Where what is not kept ends. */
  #gapEnd(fromHi: number, toHi: number): number {
    for (let end = this.#endOf(fromHi); end < toHi; end = this.#endOf(end + 1))
      if (this.#find(end + 1, Math.min(toHi, this.#endOf(end + 1)))) return end;
    return toHi;
  }

  #find(fromHi: number, toHi: number): Piece | undefined {
    return this.#kept.get(this.#leafOf(fromHi))?.find((piece) => piece.fromHi === fromHi && piece.toHi === toHi);
  }

  #keep(piece: Piece): void {
    const leaf = this.#leafOf(piece.fromHi);
    const held = (this.#kept.get(leaf) ?? []).filter(
      ({ fromHi, toHi }) => fromHi !== piece.fromHi || toHi !== piece.toHi,
    );
    if (held.length >= MAX_KEPT_OF_LEAF) return;
    this.#forget(leaf);
    held.push(piece);
    this.#kept.set(leaf, held);
    this.#keptCount += weightOf(held);
    for (const oldest of this.#kept.keys()) {
      if (this.#keptCount <= MAX_KEPT_DIGESTS) break;
      this.#forget(oldest);
    }
  }

  #forget(leaf: number): void {
    const held = this.#kept.get(leaf);
    if (!held) return;
    this.#kept.delete(leaf);
    this.#keptCount -= weightOf(held);
  }
}

/** A stretch without rows takes memory too. */
function weightOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { digests }) => sum + 1 + digests.length, 0);
}
