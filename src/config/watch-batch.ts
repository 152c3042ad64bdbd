// The events of one revision that some watches have in common, and their bytes: made once, however many watches get them.
// Guarantees: the order of the changes; fragments end between events. Must not: know who gets them.
import { ByteWriter } from "../wire/bytes.ts";
import type { AnswerHeader, ConfigEvent, KeyValue } from "../wire/config.ts";
import { writeConfigEvent } from "../wire/config-answers.ts";
import { type WatchId, writeEventsHead } from "../wire/config-watch.ts";
import type { Change } from "./keyspace.ts";
import { MAX_PREVIOUS_BYTES, WATCH_FRAGMENT_BYTES } from "./limits.ts";
import { keyValueOf } from "./record.ts";

/** Metadata of one event on the wire, at most. */
const EVENT_BYTES = 64;
const writer = new ByteWriter(64 * 1024);

export interface BatchOptions {
  readonly header: AnswerHeader;
  readonly changes: readonly Change[];
  readonly prevKv: boolean;
  readonly fragment: boolean;
  readonly endedBy: (change: Change) => KeyValue | undefined;
}

/** What one message holds of a batch. */
export interface Part {
  readonly header: AnswerHeader;
  readonly events: readonly ConfigEvent[];
  /** More of this revision follows. */
  readonly fragment: boolean;
  /** Made when first sent; by watch, where a message has one. */
  bytes?: Uint8Array;
  readonly frames: Map<WatchId, Uint8Array>;
}

export class Batch {
  readonly #options: BatchOptions;
  #parts: readonly Part[] | undefined;
  #bytes = 0;

  constructor(options: BatchOptions) {
    this.#options = options;
  }

  get revision(): number {
    return this.#options.header.revision;
  }

  /** Of all events, about. */
  get bytes(): number {
    this.parts;
    return this.#bytes;
  }

  get parts(): readonly Part[] {
    this.#parts ??= this.#split();
    return this.#parts;
  }

  #split(): readonly Part[] {
    const { header, fragment } = this.#options;
    const cuts: ConfigEvent[][] = [[]];
    let partBytes = 0;
    for (const event of this.#events()) {
      const bytes = EVENT_BYTES + sizeOf(event.kv) + (event.prevKv ? sizeOf(event.prevKv) : 0);
      if (fragment && partBytes > 0 && partBytes + bytes > WATCH_FRAGMENT_BYTES) {
        cuts.push([]);
        partBytes = 0;
      }
      cuts.at(-1)!.push(event);
      partBytes += bytes;
      this.#bytes += bytes;
    }
    return cuts.map((events, index) => {
      const isCut = index < cuts.length - 1;
      return { header, events, fragment: isCut, frames: new Map() };
    });
  }

  *#events(): Iterable<ConfigEvent> {
    const { changes, prevKv, endedBy } = this.#options;
    let previousBytes = 0;
    for (const change of changes) {
      const { type } = change.record;
      const kv = keyValueOf(change.record);
      const previous = prevKv && previousBytes < MAX_PREVIOUS_BYTES ? endedBy(change) : undefined;
      previousBytes += previous ? sizeOf(previous) : 0;
      yield previous ? { type, kv, prevKv: previous } : { type, kv };
    }
  }
}

function sizeOf({ key, value }: KeyValue): number {
  return key.length + value.length;
}

/** The message for these watches. */
export function frameOf(part: Part, watchIds: readonly WatchId[]): Uint8Array {
  const [only] = watchIds;
  const kept = watchIds.length === 1 ? part.frames.get(only!) : undefined;
  if (kept) return kept;
  part.bytes ??= bytesOf(part.events);
  const { header, fragment, events } = part;
  writer.reset();
  writeEventsHead(writer, { header, watchIds, fragment, eventCount: events.length });
  writer.raw(part.bytes);
  const frame = writer.take();
  if (watchIds.length === 1) part.frames.set(only!, frame);
  return frame;
}

function bytesOf(events: readonly ConfigEvent[]): Uint8Array {
  writer.reset();
  for (const event of events) writeConfigEvent(writer, event);
  return writer.take();
}
