// The causal context of a key, in its two outer forms: compact bytes (frames, stored state) and a readable map (JSON).
// Guarantees: both forms round-trip; reading refuses anything malformed with a sentence that names what is wrong.
// Must not: decide causality; that is kv/clock.ts. Clients treat the map as opaque: hand back what a read or write returned.
//
// Actor: one incarnation of one storage node, as the number `node * 4096 + incarnation`; `n3.1` in the map.
// Map: `{"n1.1": 93}` = every write stamped by n1.1 up to 93; `{"n1.1": [50, 93]}` = up to 50, and the write 93;
// `"@"` = the greatest hybrid logical time covered, so that last-write-wins stays above everything the client has seen.
import type { ByteReader, ByteWriter } from "./bytes.ts";

export const INCARNATIONS_PER_NODE = 4096;
/** Node numbers are assigned by the Directory from 1. */
export const MAX_NODE_NUMBER = 2 ** 20;
/** A client's clock with more entries than this is refused: no honest one comes near (32 siblings, few nodes). */
export const MAX_CLOCK_ENTRIES = 1024;
const TIME_FIELD = "@";
const ACTOR_NAME = /^n([1-9][0-9]{0,6})\.([1-9][0-9]{0,3})$/;

export interface Dot {
  readonly actor: number;
  readonly counter: number;
}

/** vector[actor] = all dots up to it; dots = single ones above. Sorted by actor, then counter. `time` = greatest hybrid time. */
export interface Clock {
  readonly vector: readonly Dot[];
  readonly dots: readonly Dot[];
  readonly time: number;
}

/** The readable form. Opaque by contract. */
export type ClockMap = Record<string, number | number[]>;

export class MalformedClock extends Error {
  override readonly name = "MalformedClock";
}

export const EMPTY_CLOCK: Clock = { vector: [], dots: [], time: 0 };

export function actorOf(nodeNumber: number, incarnation: number): number {
  return nodeNumber * INCARNATIONS_PER_NODE + incarnation;
}

export function actorName(actor: number): string {
  return `n${Math.floor(actor / INCARNATIONS_PER_NODE)}.${actor % INCARNATIONS_PER_NODE}`;
}

function parseActor(name: string): number {
  const match = ACTOR_NAME.exec(name);
  const node = Number(match?.[1]);
  const incarnation = Number(match?.[2]);
  if (!match || node > MAX_NODE_NUMBER || incarnation >= INCARNATIONS_PER_NODE) {
    throw new MalformedClock(`"${name.slice(0, 40)}" is not a clock entry; expected names like "n1.1"`);
  }
  return actorOf(node, incarnation);
}

export function byActorThenCounter(a: Dot, b: Dot): number {
  return a.actor - b.actor || a.counter - b.counter;
}

function writeDots(writer: ByteWriter, dots: readonly Dot[]): void {
  writer.varint(dots.length);
  for (const dot of dots) {
    writer.varint(dot.actor);
    writer.varint(dot.counter);
  }
}

/** Everything that joins and compares clocks relies on the order; bytes from outside need not have it. */
function requireOrder(dots: readonly Dot[], isVector: boolean): void {
  for (let i = 0; i < dots.length; i++) {
    const dot = dots[i]!;
    const before = dots[i - 1];
    const follows = !before || dot.actor > before.actor || (!isVector && byActorThenCounter(dot, before) > 0);
    if (!follows || dot.counter === 0) {
      throw new MalformedClock(`the clock entry ${actorName(dot.actor)}:${dot.counter} is out of order or zero`);
    }
  }
}

function readDots(reader: ByteReader, isVector: boolean): Dot[] {
  const count = reader.varint();
  if (count > MAX_CLOCK_ENTRIES)
    throw new MalformedClock(`a clock has ${count} entries, the limit is ${MAX_CLOCK_ENTRIES}`);
  const dots: Dot[] = [];
  for (let i = 0; i < count; i++) dots.push({ actor: reader.varint(), counter: reader.varint() });
  requireOrder(dots, isVector);
  return dots;
}

export function writeClock(writer: ByteWriter, clock: Clock): void {
  writeDots(writer, clock.vector);
  writeDots(writer, clock.dots);
  writer.varint(clock.time);
}

export function readClock(reader: ByteReader): Clock {
  return { vector: readDots(reader, true), dots: readDots(reader, false), time: reader.varint() };
}

export function clockToMap(clock: Clock): ClockMap {
  const map: ClockMap = {};
  for (const entry of clock.vector) map[actorName(entry.actor)] = entry.counter;
  for (const dot of clock.dots) {
    const name = actorName(dot.actor);
    const held = map[name];
    if (Array.isArray(held)) held.push(dot.counter);
    else map[name] = [held ?? 0, dot.counter];
  }
  if (clock.time > 0) map[TIME_FIELD] = clock.time;
  return map;
}

function requireCounter(value: unknown, name: string, least: number): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least) {
    const shown = JSON.stringify(value)?.slice(0, 40);
    throw new MalformedClock(`the clock entry "${name}" holds ${shown}; expected a whole number of at least ${least}`);
  }
  return value;
}

/** Throws {@link MalformedClock} with a sentence fit for the client. */
export function clockFromMap(input: unknown): Clock {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw new MalformedClock("the vector clock must be an object as returned by an earlier read or write");
  }
  const vector: Dot[] = [];
  const dots: Dot[] = [];
  let time = 0;
  for (const [name, value] of Object.entries(input)) {
    if (name === TIME_FIELD) {
      time = requireCounter(value, name, 0);
      continue;
    }
    const actor = parseActor(name);
    if (!Array.isArray(value)) {
      vector.push({ actor, counter: requireCounter(value, name, 1) });
      continue;
    }
    const prefix = requireCounter(value[0], name, 0);
    if (prefix > 0) vector.push({ actor, counter: prefix });
    let last = prefix;
    for (const item of value.slice(1)) {
      const counter = requireCounter(item, name, last + 1);
      dots.push({ actor, counter });
      last = counter;
    }
  }
  if (vector.length + dots.length > MAX_CLOCK_ENTRIES) {
    throw new MalformedClock(`the clock has ${vector.length + dots.length} entries, the limit is ${MAX_CLOCK_ENTRIES}`);
  }
  return { vector: vector.sort(byActorThenCounter), dots: dots.sort(byActorThenCounter), time };
}
