// The indexes of a segment as its directory has them: sections `index/<key>/<section>`, where a key is one build of one index.
// Guarantees: bytes are written in slices. Must not: know which indexes a database wants.
import type { IndexKind, SegmentIndex } from "../index/segment-index.ts";
import { REDUCTION_SECTION } from "../reduce/reduced-index.ts";
import type { Directory, Section } from "../segment/directory.ts";
import { BLOCK_BYTES, SLICE_BLOCKS } from "../segment/limits.ts";
import type { SectionWriter } from "../segment/sections.ts";
import type { Segment } from "../segment/segment.ts";
import { Slice } from "../slice.ts";
import { HEADER_SECTIONS } from "./index-kinds.ts";

/** Where sections of a segment go. */
export interface SectionSink {
  section(name: string): SectionWriter;
  addSection(section: Section): void;
}

/** Rows that an index does not hold, as u32; absent = it holds all. */
const QUARANTINED = "quarantined-rows";

const PREFIX = "index/";

/** The section of an index in its segment. */
export function placeOf(key: string, section = ""): string {
  return `${PREFIX}${key}/${section}`;
}

/** Builds of indexes that have sections. */
export function savedKeys({ sections }: Directory): ReadonlySet<string> {
  const keys = [...sections.keys()].filter((name) => name.startsWith(PREFIX)).map((name) => name.split("/")[1]!);
  return new Set(keys);
}

/** What a loader must know of a saved index before its sections are read; undefined = nothing of it is saved. */
export function savedIndex(segment: Segment, key: string) {
  const prefix = placeOf(key);
  const lengths = new Map<string, number>();
  for (const [section, { rawBytes }] of segment.directory.sections) {
    if (section.startsWith(prefix)) lengths.set(section.slice(prefix.length), rawBytes);
  }
  const header: [string, IndexKind] | undefined = HEADER_SECTIONS.find(([section]) => lengths.has(section)) as never;
  if (!header) return undefined;
  const reduction = lengths.has(REDUCTION_SECTION) ? segment.reader(prefix + REDUCTION_SECTION).all() : undefined;
  return { kind: header[1], header: segment.reader(prefix + header[0]).all(), lengths, reduction };
}

/** Rows that a saved index does not hold. @throws CorruptSegment */
export function savedQuarantine(segment: Segment, key: string): readonly number[] {
  const name = placeOf(key, QUARANTINED);
  return segment.section(name) ? [...new Uint32Array(segment.reader(name).all().slice().buffer)] : [];
}

export function* saveIndex(
  { index, quarantined }: { readonly index: SegmentIndex; readonly quarantined: readonly number[] },
  key: string,
  { sink, now }: { readonly sink: SectionSink; readonly now: () => number },
): Generator<void, void> {
  const slice = new Slice(now, SLICE_BLOCKS);
  for (const section of index.save()) {
    const blocks = sink.section(placeOf(key, section.name));
    for (let from = 0; from < section.byteLength; from += BLOCK_BYTES) {
      blocks.block(section.read(from, Math.min(section.byteLength, from + BLOCK_BYTES)));
      if (slice.isOver()) yield;
    }
    sink.addSection(blocks.finish());
    yield;
  }
  if (quarantined.length === 0) return;
  const rows = sink.section(placeOf(key, QUARANTINED));
  const bytes = new Uint8Array(Uint32Array.from(quarantined).buffer);
  for (let from = 0; from < bytes.length; from += BLOCK_BYTES) rows.block(bytes.slice(from, from + BLOCK_BYTES));
  sink.addSection(rows.finish());
}
