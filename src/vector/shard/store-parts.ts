// What a store is given and gives, and what it asks of its changes and segments.
import type { Kernels, SqlStorage, SyncBlobStore } from "../../storage/types.ts";
import type { EarlierVersion } from "../../wire/vector.ts";
import type { Arena } from "../arena.ts";
import type { RowStamp } from "../segment/row.ts";
import { Segment } from "../segment/segment.ts";
import type { ChainPlace } from "./commit-chain.ts";
import type { FreshSegment } from "./fresh-segment.ts";
import type { Rewritten, RowSource } from "./rewrite.ts";
import type { Origin, ShardIndexes } from "./shard-indexes.ts";

export interface VectorStoreOptions {
  readonly sql: SqlStorage;
  readonly blobs: SyncBlobStore;
  readonly kernels: Pick<Kernels, "crc32c">;
  readonly arena: Arena;
  readonly indexes: ShardIndexes;
  readonly dimension: number;
  /** First part of blob names: database, generation and shard. */
  readonly name: string;
  readonly random: (byteCount: number) => Uint8Array;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Called in the commit that ends a turn, also one that changed nothing. */
  readonly onLogged?: () => void;
  /** A follower's: terms are its owner's to count. */
  readonly isCopy?: boolean | undefined;
}

/** A row as a caller gives it. */
export interface NewRow {
  readonly id: string;
  /** float32, little endian, of the database's dimension. */
  readonly values: Uint8Array;
  /** JSON text of an object, or empty. */
  readonly metadata: Uint8Array;
  /** Of its versions in another shard. */
  readonly before?: EarlierVersion | undefined;
}

export type StoreChange =
  | { readonly kind: "put"; readonly row: NewRow }
  | { readonly kind: "delete"; readonly id: string };

/** What became of one change: the stamp of the version written or deleted; undefined = there was nothing to delete. */
export type Applied = RowStamp | undefined;

/** Where a live row is. */
export interface Located {
  readonly segment: FreshSegment | Segment;
  readonly row: number;
}

/** A seal that has begun: its rows, and the last row of the log and revision that it covers. */
export interface SealBegun {
  readonly sealing: FreshSegment;
  readonly through: number;
  readonly place: ChainPlace;
}

type Identified =
  | { readonly kind: "put"; readonly row: { readonly id: string } }
  | { readonly kind: "delete"; readonly id: string };

export function idOf(change: Identified): string {
  return change.kind === "put" ? change.row.id : change.id;
}

export function blobsOf({ directory }: Pick<Segment, "directory">): readonly string[] {
  return [...directory.sections.values()].flatMap(({ parts }) => parts);
}

/** Where the rows of a new segment were. */
export function originsOf(sources: readonly RowSource[], { rowOf }: Rewritten): readonly Origin[] {
  return sources.flatMap((source, at) =>
    source instanceof Segment ? [{ segment: source.number, rowOf: rowOf[at]! }] : [],
  );
}

/** Of a row that is put: the next of its versions, or the same one where it moved here from another shard. */
export function stampAfter({
  before,
  earlier,
  revision,
  nowMs,
}: {
  readonly before: RowStamp | undefined;
  readonly earlier: EarlierVersion | undefined;
  readonly revision: number;
  readonly nowMs: number;
}): RowStamp {
  const { version, createdMs } = before ?? earlier ?? { version: 0, createdMs: nowMs };
  const isMoved = !before && earlier !== undefined && earlier.updatedMs > 0;
  return isMoved
    ? { revision, version, createdMs, updatedMs: earlier.updatedMs }
    : { revision, version: version + 1, createdMs, updatedMs: nowMs };
}
