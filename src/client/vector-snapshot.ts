// A snapshot of a vector database as a checksummed stream of bytes. Guarantees: a piece was checked before it is handed on; a snapshot without its end
// is an error. Must not: hold more than a block.
import { DamagedVectorSnapshot, type VectorSnapshotHead, VectorSnapshotReader } from "../wire/vector-snapshot.ts";
import { JadeError } from "./errors.ts";
import type { Database } from "./vector-types.ts";

/** What a snapshot says of itself. */
export interface VectorSnapshotInfo {
  readonly snapshotId: string;
  readonly databaseId: string;
  readonly takenAt: string;
  readonly rows: number;
  readonly vectorDimension: number;
  readonly metric: string;
  readonly bytes: number;
}

/** Reads a snapshot through and says what it holds. Throws `badAnswer` where it is damaged or cut off. */
export async function inspectVectorSnapshot(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  onPiece: (piece: Uint8Array) => void | Promise<void> = () => undefined,
): Promise<VectorSnapshotInfo> {
  const reader = new VectorSnapshotReader();
  let head: VectorSnapshotHead | undefined;
  let bytes = 0;
  try {
    for await (const piece of pieces) {
      for (const block of reader.take(piece)) if (block.kind === "head") head = block.head;
      bytes += piece.length;
      await onPiece(piece);
    }
    const rows = reader.finish();
    const { snapshotId, databaseId, createdAtMs, vectorDimension, metric } = head!;
    return {
      snapshotId,
      databaseId,
      takenAt: new Date(createdAtMs).toISOString(),
      rows,
      vectorDimension,
      metric,
      bytes,
    };
  } catch (error) {
    if (error instanceof DamagedVectorSnapshot) throw new JadeError("badAnswer", error.message);
    throw error;
  }
}

/** A database that was restored, and what of its snapshot could not be. */
export interface RestoredDatabase extends Database {
  readonly missing?: {
    readonly rows: number;
    readonly parts: readonly {
      readonly shard: number;
      readonly part: number;
      readonly kind: "segment" | "rows";
      /** Null: not even that can be read. */
      readonly rows: number | null;
      readonly message: string;
    }[];
  };
}
