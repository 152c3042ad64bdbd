// The whole sibling state of one key, as replicas store and ship it, and its canonical bytes.
// Guarantees: equal states have equal bytes (reads compare replicas by bytes); decode refuses anything malformed.
// Must not: decide anything; stamping and merging are in stamp.ts and merge.ts.
//
// Bytes: format u8, clock, unsettled*, versions*. The newest version comes last and its value is the last field, so that a
// coordinator which already holds the value can ship `prefix ++ value` (see replication/frames.ts).
import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import { type Clock, type Dot, readClock, writeClock } from "../wire/clock.ts";
import { WRITE_ID_BYTES } from "../wire/session.ts";

const FORMAT = 1;
const TOMBSTONE = 1;
const RESTAMPED = 2;

/** One write, under all the dots it was stamped with. Invariant: `dots` is sorted and not empty. */
export interface Version {
  readonly writeId: Uint8Array;
  readonly dots: readonly Dot[];
  /** Hybrid logical time of its latest stamp: orders versions for last-write-wins. */
  readonly time: number;
  /** True when it was stamped by a retry: another stamp of the same write may exist elsewhere. */
  readonly restamped: boolean;
  /** Undefined = a delete (tombstone). */
  readonly value: Uint8Array | undefined;
}

/**
 * A superseded write that is not known to have reached a majority. It travels with the state until the stamp `carrier`, whose
 * state carried it, has reached one: so whoever covers a write's dot can recognise a retry of that write (spec KV-9).
 */
export interface Unsettled {
  readonly writeId: Uint8Array;
  readonly dot: Dot;
  readonly carrier: Dot;
}

/** Invariants: versions sorted by (time, writeId); unsettled by writeId; every dot of every version is covered by `clock`. */
export interface KeyState {
  readonly clock: Clock;
  readonly unsettled: readonly Unsettled[];
  readonly versions: readonly Version[];
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function byTimeThenId(a: Version, b: Version): number {
  return a.time - b.time || compareBytes(a.writeId, b.writeId);
}

function writeDot(writer: ByteWriter, dot: Dot): void {
  writer.varint(dot.actor);
  writer.varint(dot.counter);
}

function readDot(reader: ByteReader): Dot {
  return { actor: reader.varint(), counter: reader.varint() };
}

function writeVersionHead(writer: ByteWriter, version: Version): void {
  writer.u8((version.value ? 0 : TOMBSTONE) | (version.restamped ? RESTAMPED : 0));
  writer.raw(version.writeId);
  writer.varint(version.time);
  writer.varint(version.dots.length);
  for (const dot of version.dots) writeDot(writer, dot);
}

/** `standIn`: of its first bytes a value is made that is not in what is read. */
function readVersion(reader: ByteReader, standIn: Uint8Array | undefined): Version {
  const flags = reader.u8();
  const writeId = reader.raw(WRITE_ID_BYTES);
  const time = reader.varint();
  const count = reader.varint();
  if (count === 0) throw new MalformedBytes("a version without a dot");
  const dots: Dot[] = [];
  for (let i = 0; i < count; i++) dots.push(readDot(reader));
  return {
    writeId,
    dots,
    time,
    restamped: (flags & RESTAMPED) !== 0,
    value: flags & TOMBSTONE ? undefined : standIn ? standIn.subarray(0, reader.varint()) : reader.bytes(),
  };
}

/** Writes the state and returns the length of the prefix before the last version's value bytes (all of it for a tombstone). */
export function writeState(writer: ByteWriter, state: KeyState): number {
  const start = writer.length;
  writer.u8(FORMAT);
  writeClock(writer, state.clock);
  writer.varint(state.unsettled.length);
  for (const entry of state.unsettled) {
    writer.raw(entry.writeId);
    writeDot(writer, entry.dot);
    writeDot(writer, entry.carrier);
  }
  writer.varint(state.versions.length);
  let prefix = writer.length;
  for (const version of state.versions) {
    writeVersionHead(writer, version);
    if (version.value) writer.varint(version.value.length);
    prefix = writer.length;
    if (version.value) writer.raw(version.value);
  }
  return prefix - start;
}

const scratch = new ByteWriter(4096);

export function encodeState(state: KeyState): Uint8Array {
  scratch.reset();
  writeState(scratch, state);
  return scratch.take();
}

/**
 * The state that `head` is the beginning of, up to the bytes of its last value: in place of these are as many zeros, at most as many as
 * `zeros` has. Only for a state that is about to be replaced as a whole.
 */
export function decodeHead(head: Uint8Array, zeros: Uint8Array): KeyState {
  return decodeFrom(new ByteReader(head), zeros);
}

/** Views into `bytes`, not copies. */
export function decodeState(bytes: Uint8Array): KeyState {
  return decodeFrom(new ByteReader(bytes), undefined);
}

function decodeFrom(reader: ByteReader, lastValue: Uint8Array | undefined): KeyState {
  const format = reader.u8();
  if (format !== FORMAT) throw new MalformedBytes(`key state of format ${format}, this build reads ${FORMAT}`);
  const clock = readClock(reader);
  const unsettled: Unsettled[] = [];
  for (let i = reader.varint(); i > 0; i--) {
    unsettled.push({ writeId: reader.raw(WRITE_ID_BYTES), dot: readDot(reader), carrier: readDot(reader) });
  }
  const versions: Version[] = [];
  for (let i = reader.varint(); i > 0; i--) versions.push(readVersion(reader, i === 1 ? lastValue : undefined));
  if (!reader.done) throw new MalformedBytes("bytes after the end of a key state");
  return { clock, unsettled, versions };
}

export const EMPTY_STATE: KeyState = { clock: { vector: [], dots: [], time: 0 }, unsettled: [], versions: [] };
