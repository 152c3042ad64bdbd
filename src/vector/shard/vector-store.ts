// The rows of one shard: commit log → fresh segment → sealed segments. Decides what a write changes; finds rows by id.
// Guarantees: an id has at most one live row; what `endTurn` wrote is there after a crash, and nothing of it half; all calls are
// synchronous, so a turn of the object is atomic. Must not: know time, callers or search.
import { ByteReader } from "../../wire/bytes.ts";
import type { VectorInput } from "../../wire/vector.ts";
import { ArenaFull } from "../arena.ts";
import { CorruptSegment, type Directory } from "../segment/directory.ts";
import type { RowStamp, VectorRow } from "../segment/row.ts";
import { BlockCache } from "../segment/sections.ts";
import { Segment } from "../segment/segment.ts";
import { SegmentWriter } from "../segment/segment-writer.ts";
import { BlobNames } from "./blob-names.ts";
import { DirtyPages } from "./dirty-pages.ts";
import { FreshSegment } from "./fresh-segment.ts";
import { type LogChange, type LogCommit, readCommit } from "./log-entries.ts";
import { Manifest, type StoredSegment } from "./manifest.ts";
import { rewind, rewoundPlace } from "./rewind.ts";
import { deletedSince, type RowSource, rewrite } from "./rewrite.ts";
import { SegmentIndexing } from "./segment-indexing.ts";
import type { BuiltIndexes } from "./shard-indexes.ts";
import { ShardLog } from "./shard-log.ts";
import { ShardSnapshots, type SnapshotInfo } from "./snapshots.ts";
import {
  type Applied,
  blobsOf,
  idOf,
  type Located,
  originsOf,
  type SealBegun,
  type StoreChange,
  stampAfter,
  type VectorStoreOptions,
} from "./store-parts.ts";

export type { Applied, Located, NewRow, StoreChange, VectorStoreOptions } from "./store-parts.ts";

const encoder = new TextEncoder();

export class VectorStore {
  readonly snapshots: ShardSnapshots;
  readonly #options: VectorStoreOptions;
  readonly #manifest: Manifest;
  readonly #names: BlobNames;
  readonly log: ShardLog;
  readonly #cache = new BlockCache();
  #manifestVersion = 1;
  #fresh: FreshSegment;
  /** The one that is being sealed: it grows no more. */
  #sealing: FreshSegment | undefined;
  #sealBegun: SealBegun | undefined;
  #segments: readonly Segment[];
  /** A write did not fit: what is in memory is sealed before it is full. */
  #isShort = false;
  readonly #indexing: SegmentIndexing;
  readonly #dirtyPages = new DirtyPages();
  #revision: number;
  /** Scans that go on in slices, and what was sealed under them. */
  #pins = 0;
  readonly #released: FreshSegment[] = [];

  /** Opens what is stored. @throws CorruptSegment, CorruptLog */
  constructor(options: VectorStoreOptions) {
    this.#options = options;
    const { sql, name, random, kernels } = options;
    this.#manifest = new Manifest(sql, kernels.crc32c);
    const term = this.#manifest.get("term") + (options.isCopy ? 0 : 1);
    if (!options.isCopy) this.#manifest.set("term", term);
    this.snapshots = new ShardSnapshots({ sql, blobs: options.blobs, crc32c: kernels.crc32c });
    this.#names = new BlobNames({ sql, prefix: name, term, random, pinned: this.snapshots.blobs() });
    this.#indexing = new SegmentIndexing({
      ...options,
      crc32c: kernels.crc32c,
      manifest: this.#manifest,
      names: this.#names,
      isThere: (segment) => this.#segments.includes(segment),
      onReplaced: () => {
        this.#manifestVersion++;
      },
    });
    this.#segments = this.#manifest.segments().map((stored) => this.#open(stored));
    for (const segment of this.#segments) options.indexes.open(segment);
    this.#revision = this.#manifest.get("revision");
    this.#fresh = this.#newFresh();
    const base = {
      revision: this.#revision,
      chain: this.#manifest.get("chain"),
      lastSeq: this.#manifest.get("logThrough"),
    };
    this.log = new ShardLog({ sql, kernels, base });
    // What was acknowledged comes back, also under a budget that is smaller by now; a seal makes room.
    options.arena.withoutBudget(() => this.log.replay((commit) => this.#replay(commit)));
  }

  #open(stored: Pick<StoredSegment, "number" | "directory"> & Partial<StoredSegment>, twin?: Segment): Segment {
    const { blobs, kernels } = this.#options;
    return new Segment({ ...stored, twin, blobs, crc32c: kernels.crc32c, cache: this.#cache });
  }

  #newFresh(): FreshSegment {
    const { arena, dimension } = this.#options;
    return new FreshSegment({ arena, dimension, hash: (id) => this.hashOf(id) });
  }

  hashOf(id: string): number {
    return this.#options.kernels.crc32c(encoder.encode(id));
  }

  #replay({ revision, changes }: LogCommit): void {
    for (const change of changes) this.#change(change);
    this.#revision = revision;
  }

  /** Starts of this shard's owner, this one included. */
  get term(): number {
    return this.#manifest.get("term");
  }

  /** Terms only grow: a follower has seen a later one, or its owner has. */
  set term(term: number) {
    this.#manifest.set("term", term);
  }

  /** Of a copy: the random number of its leader's start in this term. */
  get start(): number {
    return this.#manifest.get("start");
  }

  set start(start: number) {
    this.#manifest.set("start", start);
  }

  /** A copy whose revision is below it lacks rows. */
  get asOf(): number {
    return this.#manifest.get("asOf");
  }

  set asOf(revision: number) {
    this.#manifest.set("asOf", revision);
  }

  /** Grows whenever the list of segments changes; begins anew with each start. */
  get manifestVersion(): number {
    return this.#manifestVersion;
  }

  /** Commits so far. */
  get revision(): number {
    return this.#revision;
  }

  get liveCount(): number {
    return this.segments.reduce((sum, segment) => sum + segment.liveCount, 0);
  }

  /** All that hold live rows, newest first. */
  get segments(): readonly (FreshSegment | Segment)[] {
    return this.#sealing ? [this.#fresh, this.#sealing, ...this.#segments] : [this.#fresh, ...this.#segments];
  }

  get sealed(): readonly Segment[] {
    return this.#segments;
  }

  /** Rows that are scanned until they are sealed. */
  get freshCount(): number {
    return this.#fresh.rowCount + (this.#sealing?.rowCount ?? 0);
  }

  /** Bytes of what was applied, but is not in the log yet. */
  get unloggedBytes(): number {
    return this.log.pendingBytes;
  }

  /** Bytes of those rows. */
  get freshBytes(): number {
    return this.#fresh.bytes + (this.#sealing?.bytes ?? 0);
  }

  /** Time to {@link seal}, or to try a seal again that failed; asked when none runs. */
  get sealDue(): boolean {
    return this.#sealing !== undefined || this.#fresh.isFull || (this.#isShort && this.#fresh.rowCount > 0);
  }

  /** Bytes of the log that no segment covers, and of what this turn adds. */
  get logBytes(): number {
    return this.log.bytes;
  }

  /** Seals what is in memory though it is not full: the log's rows go with it. */
  sealSoon(): void {
    this.#isShort = true;
  }

  locate(id: string): Located | undefined {
    const fresh = this.#fresh.find(id);
    if (fresh !== undefined) return { segment: this.#fresh, row: fresh };
    const sealing = this.#sealing?.find(id);
    if (sealing !== undefined) return { segment: this.#sealing!, row: sealing };
    const hash = this.hashOf(id);
    for (const segment of this.#segments) {
      const row = segment.find(id, hash);
      if (row !== undefined) return { segment, row };
    }
    return undefined;
  }

  /** A copy of the live row. */
  get(id: string): VectorRow | undefined {
    const found = this.locate(id);
    if (!found) return undefined;
    const row = found.segment.rowAt(found.row);
    return { ...row, values: row.values.slice(), metadata: row.metadata.slice() };
  }

  /**
   * One commit: all of the changes, under one revision. Nothing is changed when it throws. Reads ids only.
   * @throws ArenaFull, CorruptSegment (a row that must be replaced cannot be read)
   */
  apply(changes: readonly StoreChange[]): readonly Applied[] {
    this.#reserve(changes.filter(({ kind }) => kind === "put").length);
    const revision = this.#revision + 1;
    const judged = this.#judge(changes, revision);
    const logged = judged.flatMap(({ change }) => (change ? [change] : []));
    if (logged.length > 0) {
      this.#revision = revision;
      this.log.add({ revision, changes: logged });
      for (const change of logged) this.#change(change);
    }
    return judged.map(({ applied }) => applied);
  }

  #reserve(rows: number): void {
    try {
      this.#fresh.reserve(rows);
    } catch (error) {
      // What is in memory would never become enough to be sealed by itself.
      if (error instanceof ArenaFull) this.#isShort = true;
      throw error;
    }
  }

  /** A follower's way of a write: a commit as its owner logged it. Nothing is changed when it throws. @throws ArenaFull, CorruptSegment */
  applyShipped(bytes: Uint8Array): void {
    const { revision, changes } = readCommit(new ByteReader(bytes));
    if (revision !== this.#revision + 1) throw new Error(`commit ${revision} does not follow ${this.#revision}`);
    this.#fresh.reserve(changes.length);
    // What cannot be read is met here, before anything is written.
    for (const change of changes) this.locate(idOf(change));
    this.#revision = revision;
    this.log.addBytes({ revision, bytes });
    for (const change of changes) this.#change(change);
  }

  /** What each change comes to, the earlier ones of the same commit included; all reads happen here, before anything is written. */
  #judge(changes: readonly StoreChange[], revision: number): readonly { change?: LogChange; applied: Applied }[] {
    const nowMs = this.#options.now();
    const after = new Map<string, RowStamp | undefined>();
    return changes.map((change) => {
      const id = idOf(change);
      const before = after.has(id) ? after.get(id) : this.#stampOf(id);
      if (change.kind === "delete") {
        after.set(id, undefined);
        return before ? { change, applied: before } : { applied: undefined };
      }
      const { before: earlier } = change.row;
      const stamp = stampAfter({ before, earlier, revision, nowMs });
      after.set(id, stamp);
      return { change: { kind: "put", row: { ...change.row, stamp } }, applied: stamp };
    });
  }

  #stampOf(id: string): RowStamp | undefined {
    const found = this.locate(id);
    return found?.segment.idOf(found.row).stamp;
  }

  #change(change: LogChange): void {
    const found = this.locate(idOf(change));
    if (found) this.#delete(found);
    if (change.kind === "put") this.#fresh.add(change.row);
  }

  #delete({ segment, row }: Located): void {
    segment.delete(row);
    if (segment instanceof Segment) this.#dirtyPages.add(segment, row);
  }

  /** Writes what was applied since the last call to the log. Call in the turn whose commit the answers wait for. */
  endTurn(): void {
    this.log.endTurn(this.#options.now());
    this.#options.onLogged?.();
  }

  /** What is to be sealed: where a seal failed, the same rows again, at the same place of the log. */
  #beginSeal(): SealBegun {
    if (this.#sealBegun) return this.#sealBegun;
    this.endTurn();
    this.#sealBegun = { sealing: this.#fresh, through: this.log.lastSeq, place: this.log.last };
    this.#sealing = this.#fresh;
    this.#isShort = false;
    this.#fresh = this.#newFresh();
    return this.#sealBegun;
  }

  /** Turns the fresh segment into a sealed one. Run to its end, with pauses between slices; one at a time. */
  *seal(): Generator<void, void> {
    const { sealing, through, place } = this.#beginSeal();
    const segment = yield* this.#rewrite([sealing], () => {
      this.#manifest.set("logThrough", through);
      this.#manifest.set("revision", place.revision);
      this.#manifest.set("chain", place.chain);
    });
    this.#sealing = undefined;
    this.#sealBegun = undefined;
    if (segment) this.#segments = [segment, ...this.#segments];
    this.log.cover(place, through);
    this.#manifestVersion++;
    if (this.#pins === 0) sealing.release();
    else this.#released.push(sealing);
  }

  /** Makes one segment of several; deleted rows are gone then. As `seal`. */
  *merge(inputs: readonly Segment[]): Generator<void, void> {
    const names = inputs.flatMap((segment) => blobsOf(segment));
    const merged = yield* this.#rewrite(inputs, () => {
      for (const input of inputs) {
        this.#manifest.remove(input.number);
        this.#dirtyPages.forget(input);
      }
      this.#names.bury(names);
    });
    for (const input of inputs) this.#options.indexes.drop(input);
    this.#segments = [...(merged ? [merged] : []), ...this.#segments.filter((segment) => !inputs.includes(segment))];
    this.#manifestVersion++;
  }

  /** Writes the new segment and puts it into the manifest, with `alsoCommit`, all pages of deleted rows and its own, in one transaction. */
  *#rewrite(sources: readonly RowSource[], alsoCommit: () => void): Generator<void, Segment | undefined> {
    const { dimension, blobs, kernels, sql, indexes, now } = this.#options;
    const written: string[] = [];
    const nextName = (): string => {
      const name = this.#names.next();
      written.push(name);
      return name;
    };
    const writer = new SegmentWriter({ dimension, blobs, crc32c: kernels.crc32c, nextName, now });
    let built: BuiltIndexes | undefined;
    let columns: Segment | undefined;
    try {
      const rewritten = yield* rewrite(sources, writer, now);
      if (writer.rowCount > 0) {
        columns = this.#open({ number: 0, directory: writer.directory() });
        built = yield* indexes.build(columns, writer, originsOf(sources, rewritten));
      }
      // A deletion may not be stored before the version that replaces the row is.
      this.endTurn();
      const segment = sql.transactionSync(() => {
        const added = writer.rowCount > 0 ? this.#add(writer.directory(), columns) : undefined;
        if (added) for (const row of deletedSince(sources, rewritten)) this.#delete({ segment: added, row });
        if (added) this.#names.used(written);
        else this.#names.bury(written);
        alsoCommit();
        this.#dirtyPages.store(this.#manifest);
        return added;
      });
      if (segment && built) indexes.attach(segment, built);
      built = undefined;
      return segment;
    } catch (error) {
      if (error instanceof CorruptSegment) sql.transactionSync(() => this.#names.bury(written));
      throw error;
    } finally {
      for (const { index } of built?.values() ?? []) index.release();
    }
  }

  /**
   * The next step towards the indexes that are wanted, beside what serves; undefined = there is none. Run to its end with pauses; seals may
   * run between two slices, merges not.
   */
  indexing(): Generator<void, void> | undefined {
    return this.#indexing.next(this.#segments);
  }

  #add(directory: Directory, twin: Segment | undefined): Segment {
    const number = this.#manifest.nextNumber();
    this.#manifest.add(number, directory);
    return this.#open({ number, directory }, twin);
  }

  /** What the shard holds now, kept under a name until it is dropped. */
  takeSnapshot(id: string): SnapshotInfo {
    this.endTurn();
    const info = this.snapshots.take(id, this);
    this.#names.pin(this.snapshots.blobs());
    return info;
  }

  dropSnapshot(id: string): void {
    this.snapshots.drop(id);
    this.#names.pin(this.snapshots.blobs());
  }

  /**
   * Back to what a snapshot holds, `without` some of its parts: its segments in the manifest, and nothing else. The rows that it holds beside them are given: the caller
   * opens the shard anew in the same turn, and applies them. Revisions go on.
   */
  rewindTo(id: string, without?: readonly number[]): readonly VectorInput[] {
    this.endTurn();
    const { segments, rows } = this.snapshots.contents(id, without);
    const through = rewoundPlace(id, this.log, this.#options.kernels.crc32c);
    const common = { manifest: this.#manifest, names: this.#names, held: this.#segments, back: segments, through };
    this.#options.sql.transactionSync(() => rewind(common));
    this.#manifestVersion++;
    return rows;
  }

  /** Gives its memory back, but for the indexes'; it is of no use then. */
  close(): void {
    this.#fresh.release();
    this.#sealing?.release();
  }

  /** Of a copy: a blob of this name is about to be written, maybe again. */
  makeRoomFor(blob: string): void {
    if (this.#names.revive(blob)) this.#options.blobs.deleteSync(blob);
  }

  /** Until the result is called all rows of today's segments stay readable, though they are sealed or merged meanwhile. */
  pin(): () => void {
    this.#pins++;
    return () => {
      if (--this.#pins > 0) return;
      for (const segment of this.#released.splice(0)) segment.release();
    };
  }

  /** Deletes a bounded part of what nothing needs any more: dead blobs, covered log rows. True = there is more. */
  sweep(): boolean {
    if (this.#pins > 0) return false;
    this.#names.sweep(8, (name) => this.#options.blobs.deleteSync(name));
    if (this.log.trimDue) this.log.trim();
    return this.sweepDue;
  }

  get sweepDue(): boolean {
    return this.#pins === 0 && (this.#names.deadCount > 0 || this.log.trimDue);
  }
}
