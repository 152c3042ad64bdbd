// Judges what a node keeps of digests by what its disk holds: added up anew, row by row, by nothing that the shipped code has added up.
import { isPurgeable } from "../../../src/kv/purge.ts";
import { digestOf } from "../../../src/replication/sync-frames.ts";
import type { SimulatedNode } from "./world.ts";

/** As the digest of a row is defined (docs/adr/0080), in big integers. */
function mixed(word: number): bigint {
  const mask = 0xffff_ffffn;
  let x = BigInt(word >>> 0);
  x = ((x ^ (x >> 16n)) * 0x85ebca6bn) & mask;
  x = ((x ^ (x >> 13n)) * 0xc2b2ae35n) & mask;
  return x ^ (x >> 16n);
}

/** What is wrong with the digests that the node would answer with now. */
export function untrueDigests({ info, engine, replica, standing }: SimulatedNode): string[] {
  const { digests } = replica;
  // Kept for an earlier horizon: nobody will be told of them.
  if (digests.horizon !== standing.horizon) return [];
  const held = engine.rows().flatMap((row) => {
    const state = engine.get(row)!;
    return isPurgeable(state, standing.horizon) ? [] : [digestOf(row, state)];
  });
  const problems: string[] = [];
  for (const { fromHi, toHi, digests: kept } of digests.kept()) {
    const rows = held.filter(({ row: { token } }) => token.hi >= fromHi && token.hi <= toHi);
    const text = (count: number, hi: bigint, lo: bigint): string => `${count} rows ${hi} ${lo}`;
    const sum = (of: (one: (typeof rows)[number]) => bigint): bigint =>
      rows.reduce((total, one) => total + of(one), 0n) & 0xffff_ffffn;
    const expected = text(
      rows.length,
      sum(({ row, hi }) => mixed(hi ^ Math.imul(row.token.hi, 0x239b961b))),
      sum(({ row, lo }) => mixed(lo ^ Math.imul(row.token.lo, 0xab0e9789))),
    );
    const [digest = { count: 0, hi: 0, lo: 0 }] = kept;
    const found = text(digest.count, BigInt(digest.hi), BigInt(digest.lo));
    if (found !== expected) problems.push(`${info.id} keeps ${found} of ${fromHi} to ${toHi}, and holds ${expected}`);
  }
  return problems;
}
