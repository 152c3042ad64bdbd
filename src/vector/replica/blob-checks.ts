// The blobs that a segment's directory names, and whether bytes are what it says of them.
import type { SyncBlobStore } from "../../storage/types.ts";
import type { Block, Crc32c, DamagedBlock, Directory } from "../segment/directory.ts";
import { blockCrc } from "../segment/sections.ts";

/** A blob as a copy asks for it. */
export interface BlobAsk {
  readonly name: string;
  readonly bytes: number;
}

interface PlacedBlock {
  readonly block: Block;
  readonly section: string;
  readonly number: number;
}

/** A blob of a segment: blocks back to back. */
export interface BlobParts extends BlobAsk {
  readonly blocks: readonly PlacedBlock[];
}

export function blobsOf({ sections }: Directory): readonly BlobParts[] {
  return [...sections.values()].flatMap(({ name: section, blocks, parts }) => {
    const byPart = parts.map((name) => ({ name, bytes: 0, blocks: [] as PlacedBlock[] }));
    for (const [number, block] of blocks.entries()) {
      const blob = byPart[block.part]!;
      blob.blocks.push({ block, section, number });
      blob.bytes = Math.max(blob.bytes, block.offset + block.storedBytes);
    }
    return byPart;
  });
}

export function isIntact(blob: BlobParts, bytes: Uint8Array, crc32c: Crc32c): boolean {
  return bytes.length === blob.bytes && damagedBlocks(blob, bytes, crc32c).length === 0;
}

/** All of them where the blob is missing. */
export function damagedBlocks(
  { name, blocks }: BlobParts,
  bytes: Uint8Array | undefined,
  crc32c: Crc32c,
): readonly DamagedBlock[] {
  const isWhole = ({ block, section, number }: PlacedBlock): boolean => {
    const stored = bytes?.subarray(block.offset, block.offset + block.storedBytes);
    return stored !== undefined && blockCrc(crc32c, section, number, stored) === block.crc;
  };
  return blocks.filter((placed) => !isWhole(placed)).map((placed) => ({ blob: name, ...placed }));
}

export function putBlob(blobs: Pick<SyncBlobStore, "putSync">, { name, blocks }: BlobParts, bytes: Uint8Array): void {
  const cuts = blocks.map(({ block }) => block.offset).filter((offset) => offset > 0);
  blobs.putSync(name, bytes, cuts);
}

/** The blob to ask another copy for, up to the block's end. */
export function askFor({ blob: name, block }: DamagedBlock): BlobAsk {
  return { name, bytes: block.offset + block.storedBytes };
}

export interface Repairing {
  readonly blobs: { repairSync(name: string, offset: number, bytes: Uint8Array): boolean };
  readonly crc32c: Crc32c;
}

/** Puts a block right from another copy's blob. False: that is not what the directory says either. */
export function repairBlock({ blobs, crc32c }: Repairing, damaged: DamagedBlock, blob: Uint8Array): boolean {
  const { block, section, number } = damaged;
  const stored = blob.slice(block.offset, block.offset + block.storedBytes);
  if (stored.length !== block.storedBytes || blockCrc(crc32c, section, number, stored) !== block.crc) return false;
  return blobs.repairSync(damaged.blob, block.offset, stored);
}
