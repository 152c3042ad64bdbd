// Pictures of shapes, drawn from a random source: which shape is told by its outline alone; colours, background, place, size and turn are random.

export const SIDE = 32;
export const SHAPES = ["disc", "ring", "square", "triangle", "cross", "star", "bar", "crescent", "frame", "two discs"];

export type Random = () => number;

/** Numbers from 0 to 1 that a seed tells. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Whether a point of the plane, in units of the shape's radius, is in it. */
const INSIDE: Readonly<Record<string, (x: number, y: number) => boolean>> = {
  disc: (x, y) => Math.hypot(x, y) < 0.9,
  ring: (x, y) => Math.hypot(x, y) < 1 && Math.hypot(x, y) > 0.55,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.8,
  triangle: (x, y) => y < 0.6 && y > -1 + 1.7 * Math.abs(x),
  cross: (x, y) => Math.min(Math.abs(x), Math.abs(y)) < 0.28 && Math.max(Math.abs(x), Math.abs(y)) < 0.95,
  star: (x, y) => Math.hypot(x, y) < 0.68 + 0.36 * Math.cos(5 * Math.atan2(y, x)),
  bar: (x, y) => Math.abs(x) < 1.05 && Math.abs(y) < 0.3,
  crescent: (x, y) => Math.hypot(x, y) < 0.95 && Math.hypot(x - 0.45, y) > 0.75,
  frame: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.85 && Math.max(Math.abs(x), Math.abs(y)) > 0.5,
  "two discs": (x, y) => Math.hypot(Math.abs(x) - 0.6, y) < 0.42,
};

const SAMPLES = [0.25, 0.75];

/** RGB, row by row. */
export function drawn(shape: number, random: Random): { width: number; height: number; data: Uint8Array } {
  const inside = INSIDE[SHAPES[shape]!]!;
  const radius = 7 + random() * 6;
  const [left, top] = [10 + random() * 12, 10 + random() * 12];
  const turn = random() * 2 * Math.PI;
  const [cos, sin] = [Math.cos(turn) / radius, Math.sin(turn) / radius];
  const colour = (): number[] => [random() * 255, random() * 255, random() * 255];
  const back = colour();
  const slope = colour().map((value) => (value - 128) / 3);
  let front = colour();
  // Far enough from the background to be seen.
  while (Math.hypot(...front.map((value, at) => value - back[at]!)) < 110) front = colour();
  const data = new Uint8Array(SIDE * SIDE * 3);
  for (let at = 0; at < SIDE * SIDE; at++) {
    const [column, row] = [at % SIDE, Math.floor(at / SIDE)];
    let share = 0;
    for (const dx of SAMPLES)
      for (const dy of SAMPLES) {
        const [x, y] = [column + dx - left, row + dy - top];
        if (inside(x * cos + y * sin, y * cos - x * sin)) share += 1 / 4;
      }
    for (let channel = 0; channel < 3; channel++) {
      const behind = back[channel]! + slope[channel]! * (column / SIDE - 0.5);
      const value = behind + share * (front[channel]! - behind) + (random() - 0.5) * 24;
      data[at * 3 + channel] = Math.min(255, Math.max(0, Math.round(value)));
    }
  }
  return { width: SIDE, height: SIDE, data };
}

/** Of each vector, the share of its ten nearest (by cosine) that have the same label. The mean. */
export function precision(vectors: readonly ArrayLike<number>[], labels: readonly number[]): number {
  const units = vectors.map((vector) => {
    const values = Array.from(vector);
    const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0)) || 1;
    return values.map((value) => value / length);
  });
  let hits = 0;
  for (const [query, own] of units.entries()) {
    const near = units
      .map((other, at) => ({
        at,
        score: at === query ? -2 : own.reduce((sum, value, n) => sum + value * other[n]!, 0),
      }))
      .sort((a, b) => b.score - a.score);
    hits += near.slice(0, 10).filter(({ at }) => labels[at] === labels[query]).length;
  }
  return hits / (10 * units.length);
}
