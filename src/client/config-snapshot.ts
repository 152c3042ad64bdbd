// `client.config.snapshot()` and `restore()`: a namespace at one revision as a checksummed stream of bytes.
// Guarantees: a piece was checked before it is handed on; a snapshot without its end is an error. Must not: hold more than a block.
import {
  DamagedSnapshot,
  readSnapshotLeases,
  SNAPSHOT_TYPE,
  type SnapshotHead,
  SnapshotReader,
} from "../wire/config-snapshot.ts";
import type { ConfigWriteOptions } from "./config-types.ts";
import { JadeError } from "./errors.ts";

export { SNAPSHOT_TYPE };

/** What a snapshot says of itself. */
export interface ConfigSnapshotInfo {
  readonly revision: number;
  readonly namespace: string;
  readonly takenAt: string;
  readonly keys: number;
  readonly leases: number;
  readonly bytes: number;
  /** CRC32C of the whole, in hex. */
  readonly checksum: string;
}

export interface ConfigRestoreOptions extends Pick<ConfigWriteOptions, "signal" | "writeId"> {
  /** The namespace's revision will be above this one too: of what clients of a lost server have seen. */
  readonly aboveRevision?: number | undefined;
}

export interface ConfigRestoreResult {
  readonly namespace: string;
  /** Of the namespace now; older ones are compacted. */
  readonly revision: number;
  readonly snapshotRevision: number;
  readonly keys: number;
  readonly leases: number;
}

/** Reads a snapshot through and says what it holds. Throws `badAnswer` where it is damaged or cut off. */
export async function inspectSnapshot(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  onPiece: (piece: Uint8Array) => void | Promise<void> = () => undefined,
): Promise<ConfigSnapshotInfo> {
  const reader = new SnapshotReader();
  let bytes = 0;
  try {
    for await (const piece of pieces) {
      for (const block of reader.take(piece)) if (block.kind === "leases") readSnapshotLeases(block.payload);
      bytes += piece.length;
      await onPiece(piece);
    }
    const { keys, leases, checksum } = reader.finish();
    const { revision, namespace, takenAtMs } = reader.head as SnapshotHead;
    const takenAt = new Date(takenAtMs).toISOString();
    return { revision, namespace, takenAt, keys, leases, bytes, checksum: checksum.toString(16).padStart(8, "0") };
  } catch (error) {
    if (error instanceof DamagedSnapshot) throw new JadeError("badAnswer", error.message);
    throw error;
  }
}

export function takeSnapshot(
  response: Response,
  onPiece: (piece: Uint8Array) => void | Promise<void>,
): Promise<ConfigSnapshotInfo> {
  return inspectSnapshot(piecesOf(response.body), onPiece);
}

/** Not every runtime iterates over streams. */
export async function* piecesOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (!body) return;
  const reader = body.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined); // it has ended, or broken
  }
}

export function streamOf(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
