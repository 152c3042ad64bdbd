// Sections of a saved index: views of the arena that are copied piece by piece, or small bytes of their own.

import type { Arena, Pointer } from "../arena.ts";
import { refuse } from "./form-header.ts";
import type { IndexSection } from "./segment-index.ts";

export function arenaSection(
  arena: Arena,
  { name, at, byteLength }: { name: string; at: Pointer; byteLength: number },
): IndexSection {
  return { name, byteLength, read: (from, to) => arena.bytes(at + from, to - from).slice() };
}

export function bytesSection(name: string, bytes: Uint8Array): IndexSection {
  return { name, byteLength: bytes.length, read: (from, to) => bytes.slice(from, to) };
}

/** What a segment file has of an index before its sections are read: the whole first section, and the lengths of all. */
export interface SavedIndex {
  readonly header: Uint8Array;
  readonly lengths: ReadonlyMap<string, number>;
}

/** @throws MalformedIndex unless the sections have these lengths. */
export function checkLengths({ lengths }: SavedIndex, expected: Iterable<readonly [string, number]>): void {
  for (const [name, bytes] of expected)
    refuse(lengths.get(name) !== bytes, `${lengths.get(name) ?? "no"} bytes of ${name} instead of ${bytes}`);
}
