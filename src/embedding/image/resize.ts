// Pictures made smaller or larger, number by number as libvips does it (vips_resize of 8.18, which sharp calls): first rows, then columns; a block
// mean by whole factors while more than twice the kernel's step is left; a kernel in 1/64 pixel and 1/4096 weight; 8 bits between the two.
// Guarantees: integers only after the weights are made, so every machine gives the same. Must not: know colours or formats.

/** What weighs neighbours, by sharp's names. */
export type Kernel = "linear" | "cubic" | "lanczos3";

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** RGB, row by row, 3 bytes a pixel. */
  readonly data: Uint8Array;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export const CHANNELS = 3;
const STEPS = 64;
const ONE = 4096;
const SHIFT = 12;
/** What is left to the kernel after blocks of whole pixels. */
const GAP = 2;

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const REACH: Readonly<Record<Kernel, number>> = { linear: 1, cubic: 2, lanczos3: 3 };
const FILTERS: Readonly<Record<Kernel, (distance: number) => number>> = {
  linear: (x) => (x < 1 ? 1 - x : 0),
  // Catmull and Rom 1974.
  cubic: (x) => {
    if (x < 1) return 1 + x * x * (1.5 * x - 2.5);
    return x < 2 ? 2 + x * (-4 + x * (2.5 - 0.5 * x)) : 0;
  },
  // Duchon 1979.
  lanczos3: (x) => (x < 3 ? sinc(x) * sinc(x / 3) : 0),
};

/** Weights by 64ths of a pixel. */
function masksOf(kernel: Kernel, shrink: number): readonly Int32Array[] {
  const points = 2 * roundEven(REACH[kernel] * shrink) + 1;
  return Array.from({ length: STEPS + 1 }, (_, step) => {
    const half = step / STEPS + points / 2 - 1;
    const weights = Array.from({ length: points }, (_, at) => FILTERS[kernel](Math.abs((at - half) / shrink)));
    const sum = weights.reduce((all, weight) => all + weight, 0);
    return Int32Array.from(weights, (weight) => Math.trunc((weight / sum) * ONE));
  });
}

/** To the nearest, halves to the even one. */
function roundEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Of one direction: how far neighbours are apart, and how many lines of how many numbers there are. */
interface Run {
  readonly from: Uint8Array | Int16Array;
  /** Pixels along the direction, before and after. */
  readonly length: number;
  readonly target: number;
  /** Bytes from a pixel to the next along the direction. */
  readonly stride: number;
  /** Where a line begins, for each of them: `lines` groups, `lineBytes` apart, of `inner` bytes. */
  readonly lines: number;
  readonly inner: number;
}

/** Rows: pixels along it are a row apart. Columns: 3 bytes. */
function runOf(
  { width, height, data }: Size & { readonly data: Run["from"] },
  target: number,
  direction: "rows" | "columns",
): Run {
  return direction === "rows"
    ? { from: data, length: height, target, stride: width * CHANNELS, lines: 1, inner: width * CHANNELS }
    : { from: data, length: width, target, stride: CHANNELS, lines: height, inner: CHANNELS };
}

/** Each pixel of the target from `weights` of its neighbours, the first of them at `first`; beyond an edge its last pixel stands. */
function weighed<To extends Uint8ClampedArray | Int16Array>(
  { from, length, target, stride, lines, inner }: Run,
  to: To,
  at: (target: number) => { readonly first: number; readonly weights: Int32Array },
): To {
  for (let pixel = 0; pixel < target; pixel++) {
    const { first, weights } = at(pixel);
    const places = Array.from(weights, (_, n) => Math.min(length - 1, Math.max(0, first + n)) * stride);
    for (let line = 0; line < lines; line++) {
      const base = line * length * stride;
      const out = line * target * inner + pixel * inner;
      for (let byte = 0; byte < inner; byte++) {
        let sum = 0;
        for (let n = 0; n < places.length; n++) sum += weights[n]! * from[base + places[n]! + byte]!;
        to[out + byte] = (sum + (ONE >> 1)) >> SHIFT;
      }
    }
  }
  return to;
}

/** Means of `factor` pixels; what is missing behind the end is its last pixel. */
function blocks({ from, length, stride, lines, inner }: Run, factor: number): { data: Uint8Array; length: number } {
  const target = Math.ceil(length / factor);
  const to = new Uint8Array(lines * target * inner);
  const multiplier = Math.floor(2 ** 32 / (256 * factor));
  for (let line = 0; line < lines; line++)
    for (let pixel = 0; pixel < target; pixel++)
      for (let byte = 0; byte < inner; byte++) {
        let sum = factor >> 1;
        for (let n = 0; n < factor; n++)
          sum += from[line * length * stride + Math.min(length - 1, pixel * factor + n) * stride + byte]!;
        to[(line * target + pixel) * inner + byte] = Math.floor((sum * multiplier) / 2 ** 24);
      }
  return { data: to, length: target };
}

function reduced(run: Run, kernel: Kernel): Uint8Array {
  const { length, target } = run;
  let shrink = length / target;
  const factor = Math.max(1, Math.floor(shrink / GAP));
  let now = run;
  if (factor > 1) {
    const { data, length: left } = blocks(run, factor);
    shrink /= factor;
    now = { ...run, from: data, length: left };
  }
  if (shrink === 1) return now.from as Uint8Array;
  const masks = masksOf(kernel, shrink);
  const before = Math.ceil(masks[0]!.length / 2) - 1;
  const to = new Uint8ClampedArray(now.lines * now.target * now.inner);
  weighed(now, to, (pixel) => {
    // Of the picture with `before` pixels put in front of it.
    const place = (pixel + 0.5) * shrink;
    const whole = Math.floor(place);
    const step = ((Math.floor(place * STEPS * 2) & (STEPS * 2 - 1)) + 1) >> 1;
    return { first: whole - before, weights: masks[step]! };
  });
  return new Uint8Array(to.buffer);
}

/** Where a pixel of the target lies: libvips' own half pixel before the middle of it (vips_affine with an offset of 0.5). */
function placeOf(pixel: number, { length, target }: Pick<Run, "length" | "target">): { whole: number; part: number } {
  const place = (pixel * length) / target - 0.5;
  const whole = Math.floor(place);
  return { whole, part: place - whole };
}

function cubicAt(part: number): Int32Array {
  const step = ((Math.floor(part * STEPS * 2) & (STEPS * 2 - 1)) + 1) >> 1;
  const near = step / STEPS;
  return Int32Array.from([1 + near, near, 1 - near, 2 - near], (far) => Math.trunc(FILTERS.cubic(far) * ONE));
}

function linearAt(part: number): Int32Array {
  const second = Math.floor(part * ONE);
  return Int32Array.of(ONE - second, second);
}

function enlarged(run: Run, kernel: "linear" | "cubic"): Int16Array {
  return weighed(run, new Int16Array(run.lines * run.target * run.inner), (pixel) => {
    const { whole, part } = placeOf(pixel, run);
    return kernel === "linear"
      ? { first: whole, weights: linearAt(part) }
      : { first: whole - 1, weights: cubicAt(part) };
  });
}

/** Columns first, and clipped at the end only. */
function larger(picture: Picture, { width, height }: Size, kernel: "linear" | "cubic"): Picture {
  let data: Uint8Array | Int16Array = picture.data;
  data = enlarged(runOf({ ...picture, data }, width, "columns"), kernel);
  data = enlarged(runOf({ ...picture, width, data }, height, "rows"), kernel);
  return { width, height, data: Uint8Array.from(data, (value) => Math.min(255, Math.max(0, value))) };
}

function smaller(picture: Picture, target: number, direction: "rows" | "columns", kernel: Kernel): Picture {
  const size = direction === "rows" ? { height: target } : { width: target };
  return { ...picture, ...size, data: reduced(runOf(picture, target, direction), kernel) };
}

/** Made smaller first, rows before columns; then larger. Both sides are at least 1. */
export function resized(picture: Picture, { width, height }: Size, kernel: Kernel): Picture {
  let now = picture;
  if (height < now.height) now = smaller(now, height, "rows", kernel);
  if (width < now.width) now = smaller(now, width, "columns", kernel);
  if (height === now.height && width === now.width) return now;
  return larger(now, { width, height }, kernel === "linear" ? "linear" : "cubic");
}
