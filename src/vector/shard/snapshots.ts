// Snapshots of a shard: its segments with their deleted rows, and copies of the rows that no segment had, at one revision. Segments never
// change, so a snapshot costs what is fresh; their blobs stay while a snapshot names them.
// Guarantees: a snapshot is whole or not there; what is read of it fits its checksum (CorruptSegment). Call what changes it within one turn.
import { drain, firstOf } from "../../storage/drain.ts";
import type { SqlStorage } from "../../storage/types.ts";
import { ByteReader, ByteWriter } from "../../wire/bytes.ts";
import type { VectorInput } from "../../wire/vector.ts";
import { readSnapshotRow, VECTOR_SNAPSHOT_BLOCK_BYTES, writeSnapshotRow } from "../../wire/vector-snapshot.ts";
import { BitSet } from "../metadata/bit-set.ts";
import { type BlobParts, blobsOf, damagedBlocks } from "../replica/blob-checks.ts";
import { forAll, type SegmentBlobs } from "../segment/away.ts";
import { CorruptSegment, type Crc32c, type Directory, readDirectory, writeDirectory } from "../segment/directory.ts";
import type { VectorRow } from "../segment/row.ts";
import { BlockCache } from "../segment/sections.ts";
import { Segment } from "../segment/segment.ts";
import { COLUMNS } from "../segment/segment-writer.ts";
import type { FreshSegment } from "./fresh-segment.ts";
import { CHECKED_BLOBS } from "./limits.ts";

export interface SnapshotInfo {
  readonly revision: number;
  readonly rows: number;
  /** Of segments and of copied rows, as they are stored. */
  readonly bytes: number;
}

/** Where to go on in a snapshot: a part, a segment or a page of copied rows, and the row in it. */
export interface SnapshotPlace {
  readonly part: number;
  readonly row: number;
}

export interface SnapshotPage {
  /** As writeSnapshotRow wrote them. */
  readonly rows: Uint8Array;
  readonly count: number;
  /** Null = these were the last. */
  readonly next: SnapshotPlace | null;
}

/** The store's part that a snapshot is taken of. */
interface Snapshotted {
  readonly revision: number;
  readonly sealed: readonly Segment[];
  readonly segments: readonly (FreshSegment | Segment)[];
}

type PartRow = {
  readonly part: number;
  readonly kind: "segment" | "rows";
  readonly head: ArrayBuffer;
  readonly body: ArrayBuffer;
  readonly crc: number;
};

/** What of a snapshot is damaged, and cannot be restored. */
export interface DamagedPart {
  readonly part: number;
  /** A segment, or rows that none had. */
  readonly kind: "segment" | "rows";
  /** Null = not even that can be read. */
  readonly rows: number | null;
  readonly message: string;
}

export interface SnapshotCheck {
  /** Absent = what was looked at is whole. */
  readonly damaged?: DamagedPart;
  /** Of a part that was looked at to its end, and is whole. */
  readonly rows?: number;
  /** Where to go on: a part, and a blob of it. Null = all was looked at. */
  readonly next: SnapshotPlace | null;
}

/** A segment of a snapshot, and which of its rows were deleted by then. */
export interface SnapshotSegment {
  readonly directory: Directory;
  readonly deleted: BitSet;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class ShardSnapshots {
  readonly #sql: SqlStorage;
  readonly #blobs: SegmentBlobs;
  readonly #crc32c: Crc32c;
  #reading: { readonly name: string; readonly segment: Segment } | undefined;

  constructor({ sql, blobs, crc32c }: { sql: SqlStorage; blobs: SegmentBlobs; crc32c: Crc32c }) {
    this.#sql = sql;
    this.#blobs = blobs;
    this.#crc32c = crc32c;
  }

  /** Repeated: what was taken first. */
  take(id: string, store: Snapshotted): SnapshotInfo {
    const before = this.info(id);
    if (before) return before;
    let bytes = 0;
    let rows = 0;
    let part = 0;
    for (const segment of store.sealed) {
      const { directory, deleted, liveCount } = segment;
      for (const { blocks } of directory.sections.values()) for (const { storedBytes } of blocks) bytes += storedBytes;
      rows += liveCount;
      const words = new Uint8Array(deleted.words.slice().buffer);
      this.#addPart(id, part++, "segment", writeDirectory(directory, this.#crc32c), words);
    }
    for (const page of freshPages(store)) {
      rows += page.count;
      bytes += page.rows.length;
      this.#addPart(id, part++, "rows", encoder.encode(String(page.count)), page.rows);
    }
    const info = { revision: store.revision, rows, bytes };
    const text = JSON.stringify(info);
    const crc = this.#crc32c(encoder.encode(`${id}\0${text}`));
    drain(
      this.#sql.exec("INSERT INTO vector_snapshots (id, info, parts, crc) VALUES (?, ?, ?, ?)", id, text, part, crc),
    );
    return info;
  }

  #addPart(id: string, part: number, kind: PartRow["kind"], head: Uint8Array, body: Uint8Array): void {
    const crc = this.#partCrc(id, part, head, body);
    const insert = "INSERT INTO vector_snapshot_parts (id, part, kind, head, body, crc) VALUES (?, ?, ?, ?, ?, ?)";
    drain(this.#sql.exec(insert, id, part, kind, head, body, crc));
  }

  #partCrc(id: string, part: number, head: Uint8Array, body: Uint8Array): number {
    return this.#crc32c(body, this.#crc32c(head, this.#crc32c(encoder.encode(`${id}/${part}`))));
  }

  /** @throws CorruptSegment */
  info(id: string): SnapshotInfo | undefined {
    let info: SnapshotInfo | undefined;
    for (const row of this.#sql.exec<{ info: string; crc: number }>(
      "SELECT info, crc FROM vector_snapshots WHERE id = ?",
      id,
    )) {
      if (row.crc !== this.#crc32c(encoder.encode(`${id}\0${row.info}`)))
        throw new CorruptSegment(`the snapshot ${id} fails its CRC32C`);
      info = JSON.parse(row.info) as SnapshotInfo;
    }
    return info;
  }

  ids(): readonly string[] {
    return [...this.#sql.exec<{ id: string }>("SELECT id FROM vector_snapshots ORDER BY id")].map(({ id }) => id);
  }

  #storedPart(id: string, part: number): PartRow | undefined {
    const query = "SELECT * FROM vector_snapshot_parts WHERE id = ? AND part = ?";
    return firstOf(this.#sql.exec<PartRow>(query, id, part));
  }

  #part(id: string, part: number): PartRow | undefined {
    const found = this.#storedPart(id, part);
    if (found && found.crc !== this.#partCrc(id, part, new Uint8Array(found.head), new Uint8Array(found.body)))
      throw new CorruptSegment(`part ${part} of the snapshot ${id} fails its CRC32C`);
    return found;
  }

  /** The one that is being read stays open: a page is much smaller than a segment. */
  #open(id: string, part: PartRow): Segment {
    const name = `${id}/${part.part}`;
    if (this.#reading?.name === name) return this.#reading.segment;
    const contents = this.#segmentOf(part);
    const common = { blobs: this.#blobs, crc32c: this.#crc32c, cache: new BlockCache() };
    const segment = new Segment({ ...contents, ...common, number: part.part });
    this.#reading = { name, segment };
    return segment;
  }

  #segmentOf({ head, body }: PartRow): SnapshotSegment {
    const directory = readDirectory(new Uint8Array(head), this.#crc32c);
    return { directory, deleted: new BitSet(directory.rowCount, new Uint32Array(body)) };
  }

  /** Rows from a place on, about as many as fill a block. Undefined = there is no such snapshot. @throws CorruptSegment, AwayBlocks */
  page(id: string, place: SnapshotPlace): SnapshotPage | undefined {
    if (!this.info(id)) return undefined;
    const part = this.#part(id, place.part);
    if (!part) return { rows: new Uint8Array(0), count: 0, next: null };
    const after = { part: place.part + 1, row: 0 };
    if (part.kind === "rows")
      return { rows: new Uint8Array(part.body), count: Number(decoder.decode(part.head)), next: after };
    const rows = this.#open(id, part);
    const { directory, deleted } = rows;
    rows.requireValues(pageRows(rows, place.row));
    const writer = new ByteWriter(VECTOR_SNAPSHOT_BLOCK_BYTES);
    let [row, count] = [place.row, 0];
    for (; row < directory.rowCount && writer.length < VECTOR_SNAPSHOT_BLOCK_BYTES; row++) {
      if (deleted.has(row)) continue;
      writeSnapshotRow(writer, snapshotRowOf(rows.rowAt(row)));
      count++;
    }
    if (row === directory.rowCount) this.#reading = undefined;
    return { rows: writer.take(), count, next: row < directory.rowCount ? { part: place.part, row } : after };
  }

  #partCount(id: string): number {
    const query = "SELECT parts FROM vector_snapshots WHERE id = ?";
    return firstOf(this.#sql.exec<{ parts: number }>(query, id))?.parts ?? 0;
  }

  /**
   * Compares what a restore would need with its checksums, from a place on, some blobs of one part at a time. Indexes are not looked at: they
   * are built anew. Undefined = there is no such snapshot. @throws CorruptSegment (the snapshot's own row), AwayBlocks
   */
  check(id: string, { part, row: blob }: SnapshotPlace): SnapshotCheck | undefined {
    if (!this.info(id)) return undefined;
    const parts = this.#partCount(id);
    const after = part + 1 < parts ? { part: part + 1, row: 0 } : null;
    if (part >= parts) return { next: null };
    let rows: number | null = null;
    const kind = this.#storedPart(id, part)?.kind ?? "rows";
    try {
      const found = this.#part(id, part);
      if (!found) throw new CorruptSegment(`part ${part} of the snapshot ${id} is missing`);
      if (found.kind === "rows") return { rows: Number(decoder.decode(found.head)), next: after };
      const { directory, deleted } = this.#segmentOf(found);
      rows = directory.rowCount - deleted.size;
      const blobs = columnBlobs(directory);
      forAll(blobs.slice(blob, blob + CHECKED_BLOBS), (one) => this.#checkBlob(one));
      const isLast = blob + CHECKED_BLOBS >= blobs.length;
      return isLast ? { rows, next: after } : { next: { part, row: blob + CHECKED_BLOBS } };
    } catch (error) {
      if (!(error instanceof CorruptSegment)) throw error;
      return { damaged: { part, kind, rows, message: error.message }, next: after };
    }
  }

  #checkBlob(blob: BlobParts): void {
    const [damaged] = damagedBlocks(blob, this.#blobs.getSync(blob.name, 0, blob.bytes), this.#crc32c);
    if (damaged) throw new CorruptSegment(`block ${damaged.number} of section ${damaged.section} is damaged`, damaged);
  }

  /** What the shard held then: its segments, and the rows beside them; `without` those parts. @throws CorruptSegment */
  contents(
    id: string,
    without: readonly number[] = [],
  ): { readonly segments: readonly SnapshotSegment[]; readonly rows: readonly VectorInput[] } {
    const segments: SnapshotSegment[] = [];
    const rows: VectorInput[] = [];
    for (let [at, parts] = [0, this.#partCount(id)]; at < parts; at++) {
      if (without.includes(at)) continue;
      const part = this.#part(id, at);
      if (!part) throw new CorruptSegment(`part ${at} of the snapshot ${id} is missing`);
      if (part.kind === "segment") segments.push(this.#segmentOf(part));
      else
        for (const reader = new ByteReader(new Uint8Array(part.body)); !reader.done; )
          rows.push(readSnapshotRow(reader));
    }
    return { segments, rows };
  }

  /** Nothing finds the blobs of one that is damaged any more; the shard opens without it. */
  #readableDirectory(id: string, part: number): Directory | undefined {
    try {
      return this.#segmentOf(this.#part(id, part)!).directory;
    } catch (error) {
      if (error instanceof CorruptSegment) return undefined;
      throw error;
    }
  }

  /** Blobs of values that would be dead but for snapshots. */
  heldValues(): readonly string[] {
    const held = new Set([...this.#sql.exec<{ name: string }>("SELECT name FROM vector_held")].map(({ name }) => name));
    return held.size === 0 ? [] : [...new Set(this.blobs(undefined, "values"))].filter((name) => held.has(name));
  }

  /** Blobs that snapshots name, but for `except`: all, or those of values. */
  *blobs(except?: string, which: "all" | "values" = "all"): Generator<string, void> {
    const query = "SELECT id, part FROM vector_snapshot_parts WHERE kind = 'segment'";
    for (const { id, part } of [...this.#sql.exec<{ id: string; part: number }>(query)]) {
      if (id === except) continue;
      const directory = this.#readableDirectory(id, part);
      if (!directory) continue;
      for (const { name, parts } of directory.sections.values()) if (which === "all" || name === which) yield* parts;
    }
  }

  drop(id: string): void {
    this.#reading = undefined;
    drain(this.#sql.exec("DELETE FROM vector_snapshots WHERE id = ?", id));
    drain(this.#sql.exec("DELETE FROM vector_snapshot_parts WHERE id = ?", id));
  }
}

/** What a restore reads, but for indexes. */
function columnBlobs({ sections, ...directory }: Directory): readonly BlobParts[] {
  return blobsOf({ ...directory, sections: new Map([...sections].filter(([name]) => COLUMNS.has(name))) });
}

/** Rows that a page from there on may give: more than fit it there are not. */
function* pageRows({ directory: { rowCount, dimension }, deleted }: Segment, from: number): Generator<number, void> {
  for (let [row, bytes] = [from, 0]; row < rowCount && bytes < VECTOR_SNAPSHOT_BLOCK_BYTES; row++) {
    if (deleted.has(row)) continue;
    bytes += dimension * 4;
    yield row;
  }
}

function snapshotRowOf({ id, stamp, values, metadata }: VectorRow): VectorInput {
  const { version, createdMs, updatedMs } = stamp;
  return { id, values, metadata, before: { version, createdMs, updatedMs } };
}

/** Live rows of the segments that are in memory, a page at a time. */
function* freshPages(store: Snapshotted): Generator<{ readonly rows: Uint8Array; readonly count: number }, void> {
  const writer = new ByteWriter(VECTOR_SNAPSHOT_BLOCK_BYTES);
  let count = 0;
  for (const segment of store.segments) {
    if (segment instanceof Segment) continue;
    for (let row = 0; row < segment.rowCount; row++) {
      if (segment.isDeleted(row)) continue;
      writeSnapshotRow(writer, snapshotRowOf(segment.rowAt(row)));
      count++;
      if (writer.length < VECTOR_SNAPSHOT_BLOCK_BYTES) continue;
      yield { rows: writer.take(), count };
      writer.reset();
      count = 0;
    }
  }
  if (count > 0) yield { rows: writer.take(), count };
}
