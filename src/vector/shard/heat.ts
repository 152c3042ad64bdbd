// Which segments' values leave for the blob store, and which come back. Pure.
import { RETURN_FETCHES } from "./limits.ts";

export interface HeatBounds {
  /** Values that nobody read for so long leave; 0 = none do for their age. Ms. */
  readonly coldAfterMs: number;
  /** Bytes of values that one shard keeps in its own storage; 0 = all. */
  readonly hotBytes: number;
}

export interface SegmentHeat {
  readonly number: number;
  /** Stored bytes of its values here, and in the blob store. */
  readonly hotBytes: number;
  readonly coldBytes: number;
  /** When its values were last read, as far as that was noted. Ms. */
  readonly readAtMs: number;
  /** Reads that had to fetch since it left. */
  readonly fetches: number;
  /** Its indexes do without its values, and nothing is made of them just now. */
  readonly mayLeave: boolean;
}

const hotBytesOf = (segments: readonly SegmentHeat[]): number =>
  segments.reduce((sum, { hotBytes }) => sum + hotBytes, 0);

/** Anything may leave. */
export function isTiered({ coldAfterMs, hotBytes }: HeatBounds): boolean {
  return coldAfterMs > 0 || hotBytes > 0;
}

/** Numbers of the segments whose values leave, those that were read longest ago first. */
export function leaving(segments: readonly SegmentHeat[], bounds: HeatBounds, nowMs: number): readonly number[] {
  let held = hotBytesOf(segments);
  const due: number[] = [];
  for (const { number, hotBytes, readAtMs } of movable(segments)) {
    const isOld = bounds.coldAfterMs > 0 && nowMs - readAtMs >= bounds.coldAfterMs;
    const isBeyond = bounds.hotBytes > 0 && held > bounds.hotBytes;
    if (!isOld && !isBeyond) break;
    due.push(number);
    held -= hotBytes;
  }
  return due;
}

function movable(segments: readonly SegmentHeat[]): readonly SegmentHeat[] {
  return segments
    .filter(({ mayLeave, hotBytes }) => mayLeave && hotBytes > 0)
    .sort((a, b) => a.readAtMs - b.readAtMs || a.number - b.number);
}

/** When the next values leave if nobody reads them; undefined = none will. */
export function nextLeavingMs(segments: readonly SegmentHeat[], bounds: HeatBounds, nowMs: number): number | undefined {
  if (leaving(segments, bounds, nowMs).length > 0) return nowMs;
  const [first] = movable(segments);
  return first && bounds.coldAfterMs > 0 ? first.readAtMs + bounds.coldAfterMs : undefined;
}

/** Those that are read again and again come back, where there is room for them. */
export function returning(segments: readonly SegmentHeat[], bounds: HeatBounds): readonly number[] {
  let held = hotBytesOf(segments);
  const due: number[] = [];
  for (const { number, coldBytes, fetches } of segments.toSorted((a, b) => b.fetches - a.fetches)) {
    if (coldBytes === 0 || fetches < RETURN_FETCHES) continue;
    if (bounds.hotBytes > 0 && held + coldBytes > bounds.hotBytes) continue;
    due.push(number);
    held += coldBytes;
  }
  return due;
}

/** Ranges of one blob as a fetch asks for them: near ones are one. */
export interface Span {
  readonly blob: string;
  readonly from: number;
  readonly to: number;
}

/** `gapBytes`: so much that nobody asked for is fetched rather than asked around. */
export function spansOf(
  ranges: readonly { readonly blob: string; readonly offset: number; readonly bytes: number }[],
  gapBytes: number,
): readonly Span[] {
  const spans: Span[] = [];
  for (const [blob, own] of Map.groupBy(ranges, (range) => range.blob)) {
    let open: Span | undefined;
    for (const { offset, bytes } of own.toSorted((a, b) => a.offset - b.offset)) {
      const to = offset + bytes;
      if (open && offset <= open.to + gapBytes) open = { ...open, to: Math.max(open.to, to) };
      else {
        if (open) spans.push(open);
        open = { blob, from: offset, to };
      }
    }
    if (open) spans.push(open);
  }
  return spans;
}
