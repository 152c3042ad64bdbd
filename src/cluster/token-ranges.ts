// Sets of tokens as ascending ranges that do not touch. Pure.
import type { TokenRange } from "./ring.ts";

const LAST_HI = 0xffff_ffff;

export function unionOf(a: readonly TokenRange[], b: readonly TokenRange[]): TokenRange[] {
  const joined: TokenRange[] = [];
  for (const range of [...a, ...b].sort((x, y) => x.fromHi - y.fromHi)) {
    const last = joined.at(-1);
    if (last && range.fromHi <= last.toHi + 1)
      joined[joined.length - 1] = { fromHi: last.fromHi, toHi: Math.max(last.toHi, range.toHi) };
    else joined.push(range);
  }
  return joined;
}

/** What is in `a` and not in `b`. */
export function without(a: readonly TokenRange[], b: readonly TokenRange[]): TokenRange[] {
  let left = unionOf(a, []);
  for (const { fromHi, toHi } of b) {
    left = left.flatMap((range) => {
      if (toHi < range.fromHi || fromHi > range.toHi) return [range];
      const before = { fromHi: range.fromHi, toHi: fromHi - 1 };
      const after = { fromHi: toHi + 1, toHi: range.toHi };
      return [before, after].filter((part) => part.fromHi <= part.toHi);
    });
  }
  return left;
}

export function complementOf(ranges: readonly TokenRange[]): TokenRange[] {
  return without([{ fromHi: 0, toHi: LAST_HI }], ranges);
}

export function holds(ranges: readonly TokenRange[], hi: number): boolean {
  return ranges.some(({ fromHi, toHi }) => hi >= fromHi && hi <= toHi);
}
