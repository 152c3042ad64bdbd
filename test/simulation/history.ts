// What really happened in a simulated run, as an all-seeing observer writes it down: which dots a write got, what its stamps
// buried, what clients were told. It checks each commit as it comes; the checker judges reads and answers. Must not: change anything.
import { covers, includes } from "../../src/kv/clock.ts";
import { decodeState, type KeyState, sameBytes } from "../../src/kv/key-state.ts";
import { MAX_SIBLINGS, MAX_UNSETTLED } from "../../src/kv/limits.ts";
import { readOps, type StampOp } from "../../src/replication/frames.ts";
import { hex } from "../../src/replication/hex.ts";
import type { RowKey } from "../../src/storage/types.ts";
import type { Clock, Dot } from "../../src/wire/clock.ts";
import type { Consistency, SessionAnswer } from "../../src/wire/session.ts";
import type { Observer } from "./hooks.ts";

export interface WriteInfo {
  /** Hex of the write id. */
  readonly id: string;
  /** As traces call it: `w12`. */
  readonly name: string;
  readonly key: string;
  readonly isDelete: boolean;
  readonly clock: Clock | undefined;
  readonly dots: Dot[];
  /** Times of its stamps, least and greatest. */
  minTime: number;
  maxTime: number;
  /** The times under which a majority held it when it was acknowledged, by the steps that ended so. */
  readonly acknowledgedTimes: { readonly step: number; readonly time: number }[];
  /** Writes that a stamp of this one superseded, by what it held or by the writer's clock. */
  readonly supersedes: Set<WriteInfo>;
  /**
   * Writes that every one of its stamped states before the first acknowledgement covered without holding them alive: they must
   * not be seen afterwards.
   */
  buries: Set<WriteInfo>;
  /** Every attempt was of a majority: its retry must be recognised. */
  strict: boolean;
  /** The first value stamped; a second one under the same id is a fault (RP-8). */
  value: Uint8Array | undefined;
  /** The step that ended with the first answer `written` that a majority stands behind. */
  acknowledgedAt: number;
  readonly answers: Clock[];
  /** Attempts under way, and those whose answer left open whether they were applied. */
  inDoubt: number;
  /**
   * A stamp of it was brought twice. Then the one may be refused and the other applied, so that "nothing was written" is not known:
   * what RP-35 says holds for a transport that repeats nothing, as RPC is.
   */
  isRepeated: boolean;
}

export interface ReadInfo {
  readonly key: string;
  readonly level: Consistency;
  readonly startStep: number;
  readonly endStep: number;
  readonly clock: Clock;
  /** The writes whose values were shown. */
  readonly shown: readonly WriteInfo[];
  readonly hasTombstone: boolean;
}

interface Rows {
  get(row: RowKey): Uint8Array | undefined;
}

interface HintInfo {
  readonly keeper: string;
  readonly target: string;
  readonly row: RowKey;
  readonly state: Uint8Array;
}

const decoder = new TextDecoder();

export class History implements Observer {
  readonly writes = new Map<string, WriteInfo>();
  readonly byName = new Map<string, WriteInfo>();
  readonly byKey = new Map<string, WriteInfo[]>();
  readonly reads: ReadInfo[] = [];
  readonly problems: string[] = [];
  #hints: HintInfo[] = [];
  readonly #dots = new Map<number, WriteInfo>();
  readonly #decoded = new WeakMap<Uint8Array, KeyState>();
  #frame: Uint8Array = new Uint8Array(0);
  /** Clocks that came from a read or write at `one`: they may name writes that no majority knows. */
  readonly #exposed = new Set<WriteInfo>();
  readonly #actorOf: (nodeId: string) => number;
  readonly #now: () => number;

  constructor(options: { actorOf: (nodeId: string) => number; now: () => number }) {
    this.#actorOf = options.actorOf;
    this.#now = options.now;
  }

  begin(write: Pick<WriteInfo, "id" | "name" | "key" | "isDelete" | "clock" | "strict">): WriteInfo {
    const info: WriteInfo = {
      ...write,
      dots: [],
      minTime: Number.POSITIVE_INFINITY,
      maxTime: 0,
      acknowledgedTimes: [],
      supersedes: new Set(),
      buries: new Set(),
      value: undefined,
      acknowledgedAt: Number.POSITIVE_INFINITY,
      answers: [],
      inDoubt: 0,
      isRepeated: false,
    };
    this.writes.set(write.id, info);
    this.byName.set(write.name, info);
    const siblings = this.byKey.get(write.key);
    if (siblings) siblings.push(info);
    else this.byKey.set(write.key, [info]);
    return info;
  }

  problem(text: string): void {
    this.problems.push(`at ${this.#now()} ${text}`);
  }

  nameOf(id: string): string {
    return this.writes.get(id)?.name ?? id;
  }

  /** A client uses a clock that it got at `one`: what the clock covers may be unknown to every majority. */
  expose(key: string, clock: Clock): void {
    for (const write of this.byKey.get(key) ?? []) {
      if (write.dots.some((dot) => covers(clock, dot))) this.#exposed.add(write);
    }
  }

  isExposed(write: WriteInfo): boolean {
    return this.#exposed.has(write);
  }

  /** The state that these bytes hold; kept, since the same bytes are asked for again and again. */
  decode(bytes: Uint8Array): KeyState {
    let state = this.#decoded.get(bytes);
    if (!state) {
      // A copy: states are views into what they were read from.
      state = decodeState(bytes);
      this.#decoded.set(bytes, state);
    }
    return state;
  }

  frame(_nodeId: string, frame: Uint8Array): void {
    this.#frame = frame;
  }

  repeated(frame: Uint8Array): void {
    for (const op of readOps(frame)) {
      const write = op.kind === "stamp" ? this.writes.get(hex(op.writeId)) : undefined;
      if (write) write.isRepeated = true;
    }
  }

  hint(keeper: string, target: string, row: RowKey, state: Uint8Array): void {
    this.#hints.push({ keeper, target, row, state: state.slice() });
  }

  /** `disk`: as it was. A hint that came there was delivered: what it brought may have been nowhere else, where one replica was enough. */
  diskLost(nodeId: string, disk: Rows): void {
    this.#hints = this.#hints.filter(
      (hint) => hint.keeper !== nodeId && !(hint.target === nodeId && this.#isHeld(hint, disk)),
    );
  }

  put(nodeId: string, row: RowKey, before: Uint8Array | undefined, after: Uint8Array): void {
    const state = this.decode(after);
    this.#checkInvariants(nodeId, row, state);
    const actor = this.#actorOf(nodeId);
    for (const version of state.versions) {
      for (const dot of version.dots) {
        const name = dot.actor * 2 ** 30 + dot.counter;
        const known = this.#dots.get(name);
        if (!known && dot.actor !== actor) continue;
        const id = hex(version.writeId);
        if (known) {
          if (known.id !== id)
            this.problem(
              `the dot ${dot.actor}:${dot.counter} names ${known.name} and ${this.nameOf(id)} of ${row.key}`,
            );
          continue;
        }
        const write = this.writes.get(id);
        if (!write) throw new Error(`a stamp of an unknown write ${id}`);
        this.#dots.set(name, write);
        write.dots.push(dot);
        if (version.dots.length === 1) {
          write.minTime = Math.min(write.minTime, version.time);
          write.maxTime = Math.max(write.maxTime, version.time);
          this.#checkTime(write, version.time, before ? this.decode(before) : undefined);
        }
        this.#checkBody(write, version.value);
        this.#stamped(write, before ? this.decode(before) : undefined, state);
      }
    }
  }

  #checkTime(write: WriteInfo, time: number, before: KeyState | undefined): void {
    const above = Math.max(before?.clock.time ?? 0, write.clock?.time ?? 0);
    if (time <= above)
      this.problem(`${write.name} was stamped at ${time}, not above ${above}, which it or its stamper had seen`);
  }

  #checkBody(write: WriteInfo, value: Uint8Array | undefined): void {
    if (write.value === undefined) write.value = value;
    else if (value === undefined || !sameBytes(value, write.value))
      this.problem(`two bodies of ${write.name} were stamped: ${decoder.decode(write.value)} and another`);
  }

  #stampOf(write: WriteInfo): StampOp | undefined {
    for (const op of readOps(this.#frame)) if (op.kind === "stamp" && hex(op.writeId) === write.id) return op;
    return undefined;
  }

  #stamped(write: WriteInfo, before: KeyState | undefined, after: KeyState): void {
    // Of two attempts in one frame the first one stamps.
    const op = this.#stampOf(write);
    const context = op?.supersedeAll ? undefined : op?.clock;
    const alive = new Set(after.versions.map((version) => this.writes.get(hex(version.writeId))));
    for (const version of before?.versions ?? []) {
      const old = this.writes.get(hex(version.writeId));
      if (!old || alive.has(old)) continue;
      if (context && !version.dots.some((dot) => covers(context, dot)))
        this.problem(`${write.name} superseded ${old.name}, which its context does not name`);
      write.supersedes.add(old);
    }
    const buried = new Set<WriteInfo>();
    for (const other of this.byKey.get(write.key) ?? []) {
      if (other === write) continue;
      for (const dot of other.dots) {
        if (op?.clock && covers(op.clock, dot)) write.supersedes.add(other);
        if (covers(after.clock, dot) && !alive.has(other)) buried.add(other);
      }
    }
    if (write.acknowledgedAt !== Number.POSITIVE_INFINITY) return;
    write.buries = write.dots.length === 1 ? buried : new Set([...write.buries].filter((old) => buried.has(old)));
  }

  #checkInvariants(nodeId: string, row: RowKey, state: KeyState): void {
    const { versions } = state;
    const ofActor = new Map<number, number>();
    for (const [i, version] of versions.entries()) {
      if (versions.findIndex((other) => sameBytes(other.writeId, version.writeId)) !== i)
        this.problem(`${nodeId} holds ${this.nameOf(hex(version.writeId))} as two versions of ${row.key}`);
      if (!version.dots.every((dot) => covers(state.clock, dot)))
        this.problem(`${nodeId} holds a version of ${row.key} that its clock does not cover`);
      for (const { actor } of version.dots) ofActor.set(actor, (ofActor.get(actor) ?? 0) + 1);
    }
    for (const [actor, count] of ofActor)
      if (count > MAX_SIBLINGS) this.problem(`${nodeId} holds ${count} versions of ${row.key} stamped by ${actor}`);
    if (state.unsettled.length > MAX_UNSETTLED)
      this.problem(`${nodeId} carries ${state.unsettled.length} unsettled entries`);
    for (const { carrier } of state.unsettled)
      if (!covers(state.clock, carrier))
        this.problem(`${nodeId} carries an entry of ${row.key} whose carrier it does not cover`);
  }

  /** What the answer of a read shows; undefined where it is an error. */
  readInfo(read: Omit<ReadInfo, "clock" | "shown" | "hasTombstone">, answer: SessionAnswer): ReadInfo | undefined {
    if (answer.kind === "notFound") return { ...read, clock: answer.clock, shown: [], hasTombstone: true };
    if (answer.kind !== "value") return undefined;
    const values = answer.siblings ? answer.siblings.map((sibling) => sibling.value) : [answer.value];
    const shown = values.flatMap((value) => (value ? this.#writesIn(value) : []));
    return { ...read, clock: answer.clock, shown, hasTombstone: values.includes(undefined) };
  }

  /** A value is an object with its write's name for a member; merged values have several. */
  #writesIn(value: Uint8Array): WriteInfo[] {
    return Object.keys(JSON.parse(decoder.decode(value)) as object).map((name) => {
      const write = this.byName.get(name);
      if (!write) throw new Error(`a read shows ${name}, which nobody wrote`);
      return write;
    });
  }

  /** A hint that was kept and whose target does not hold what it brought. */
  lostHint(diskOf: (nodeId: string) => Rows): HintInfo | undefined {
    return this.#hints.find((hint) => !this.#isHeld(hint, diskOf(hint.target)));
  }

  #isHeld({ row, state }: HintInfo, disk: Rows): boolean {
    const held = disk.get(row);
    return held !== undefined && includes(this.decode(held).clock, this.decode(state).clock);
  }
}
