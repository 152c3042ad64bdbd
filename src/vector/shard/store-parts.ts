// What a store asks of its changes and segments.
import { Segment } from "../segment/segment.ts";
import type { Rewritten, RowSource } from "./rewrite.ts";
import type { Origin } from "./shard-indexes.ts";

type Identified =
  | { readonly kind: "put"; readonly row: { readonly id: string } }
  | { readonly kind: "delete"; readonly id: string };

export function idOf(change: Identified): string {
  return change.kind === "put" ? change.row.id : change.id;
}

export function blobsOf(segment: Segment): readonly string[] {
  return [...segment.directory.sections.values()].flatMap(({ parts }) => parts);
}

export function originsOf(sources: readonly RowSource[], { rowOf }: Rewritten): readonly Origin[] {
  return sources.flatMap((source, at) =>
    source instanceof Segment ? [{ segment: source.number, rowOf: rowOf[at]! }] : [],
  );
}
