// What really happened in a simulated run, as an all-seeing observer writes it down: which dots a write got, what its stamps
// buried, what clients were told. The checker judges it. Must not: change anything.
import { covers } from "../../../src/kv/clock.ts";
import { decodeState, type KeyState } from "../../../src/kv/key-state.ts";
import { readOps, type StampOp } from "../../../src/replication/frames.ts";
import { hex } from "../../../src/replication/hex.ts";
import type { RowKey } from "../../../src/storage/types.ts";
import type { Clock, Dot } from "../../../src/wire/clock.ts";
import type { Consistency, SessionAnswer } from "../../../src/wire/session.ts";
import type { Observer } from "./world.ts";

export interface WriteInfo {
  readonly id: string;
  readonly key: string;
  readonly isDelete: boolean;
  readonly clock: Clock | undefined;
  readonly dots: Dot[];
  /** Writes that a stamp of this one superseded, by what it held or by the writer's clock. */
  readonly supersedes: Set<string>;
  /**
   * Writes that every one of its stamped states before the first acknowledgement covered without holding them alive: they must
   * not be seen afterwards.
   */
  buries: Set<string>;
  /** Every attempt was of a majority: its retry must be recognised. */
  strict: boolean;
  /** Answers `written` that a majority stands behind. */
  readonly acknowledged: { readonly endStep: number; readonly clock: Clock }[];
  readonly answers: Clock[];
}

export interface ReadInfo {
  readonly key: string;
  readonly level: Consistency;
  readonly startStep: number;
  readonly endStep: number;
  readonly clock: Clock;
  /** Ids of the writes whose values were shown. */
  readonly shown: readonly string[];
  readonly hasTombstone: boolean;
}

export class History implements Observer {
  readonly writes = new Map<string, WriteInfo>();
  readonly #byKey = new Map<string, WriteInfo[]>();
  readonly #decoded = new WeakMap<Uint8Array, KeyState>();
  readonly reads: ReadInfo[] = [];
  readonly problems: string[] = [];
  readonly #dots = new Map<string, WriteInfo>();
  readonly #stamps = new Map<string, StampOp>();
  /** Clocks that came from a read or write at `one`: they may name writes that no majority knows. */
  readonly #exposed = new Set<string>();
  readonly #actorOf: (nodeId: string) => number;
  readonly #now: () => number;

  /** Write → the step at which a replica was first allowed to forget it, as part of a state in which nothing was alive. */
  readonly #forgotten = new Map<string, number>();
  /** Key → these steps. */
  readonly #purged = new Map<string, number[]>();
  /** Write → what was forgotten before its first stamp; only of writes without a context. */
  readonly #blindAfter = new Map<string, ReadonlySet<string>>();

  /** Write → what was forgotten before its first stamp. */
  readonly #forgottenAtStamp = new Map<string, ReadonlySet<string>>();

  /** A replica takes this state for absent from now on. */
  forget(key: string, state: KeyState, step: number): void {
    this.#purged.set(key, [...(this.#purged.get(key) ?? []), step]);
    for (const write of this.writesOf(key))
      if (!this.#forgotten.has(write.id) && write.dots.some((dot) => covers(state.clock, dot)))
        this.#forgotten.set(write.id, step);
  }

  isForgottenBy(id: string, step: number): boolean {
    return (this.#forgotten.get(id) ?? Number.POSITIVE_INFINITY) <= step;
  }

  /** Deletes that a replica was allowed to forget before this write was stamped first. */
  deletesForgottenBefore(id: string): readonly string[] {
    return [...(this.#forgottenAtStamp.get(id) ?? [])].filter((one) => this.writes.get(one)?.isDelete);
  }

  wasPurged(key: string): boolean {
    return this.#purged.has(key);
  }

  stampedAtMs(dot: Dot): number {
    return this.#stampedAtMs.get(`${dot.actor}:${dot.counter}`) ?? 0;
  }

  readonly #stampedAtMs = new Map<string, number>();

  constructor(options: { actorOf: (nodeId: string) => number; now: () => number }) {
    this.#actorOf = options.actorOf;
    this.#now = options.now;
  }

  begin(write: Omit<WriteInfo, "dots" | "supersedes" | "buries" | "acknowledged" | "answers">): WriteInfo {
    const info: WriteInfo = {
      ...write,
      dots: [],
      supersedes: new Set(),
      buries: new Set(),
      acknowledged: [],
      answers: [],
    };
    this.writes.set(write.id, info);
    const siblings = this.#byKey.get(write.key);
    if (siblings) siblings.push(info);
    else this.#byKey.set(write.key, [info]);
    return info;
  }

  writesOf(key: string): readonly WriteInfo[] {
    return this.#byKey.get(key) ?? [];
  }

  /** The state that these bytes hold; kept, since the same bytes are asked for again and again. */
  #decode(bytes: Uint8Array): KeyState {
    let state = this.#decoded.get(bytes);
    if (!state) {
      state = decodeState(bytes);
      this.#decoded.set(bytes, state);
    }
    return state;
  }

  /** A client uses a clock that it got at `one`: what the clock covers may be unknown to every majority. */
  expose(key: string, clock: Clock): void {
    for (const write of this.writesOf(key))
      if (write.dots.some((dot) => covers(clock, dot))) this.#exposed.add(write.id);
  }

  isExposed(id: string): boolean {
    return this.#exposed.has(id);
  }

  frame(nodeId: string, frame: Uint8Array): void {
    this.#stamps.clear();
    for (const op of readOps(frame)) {
      const name = op.kind === "stamp" ? `${nodeId}/${hex(op.writeId)}` : "";
      // Of two attempts in one frame the first one stamps.
      if (op.kind === "stamp" && !this.#stamps.has(name)) this.#stamps.set(name, op);
    }
  }

  put(nodeId: string, row: RowKey, before: Uint8Array | undefined, after: Uint8Array): void {
    const state = this.#decode(after);
    this.#checkInvariants(nodeId, row, state);
    const actor = this.#actorOf(nodeId);
    for (const version of state.versions) {
      for (const dot of version.dots) {
        const name = `${dot.actor}:${dot.counter}`;
        const known = this.#dots.get(name);
        if (!known && dot.actor !== actor) continue;
        const id = hex(version.writeId);
        if (known && known.id !== id)
          this.problems.push(`at ${this.#now()} the dot ${name} names ${known.id} and ${id} of ${row.key}`);
        if (known) continue;
        const write = this.writes.get(id);
        if (!write) throw new Error(`a stamp of an unknown write ${id}`);
        this.#dots.set(name, write);
        this.#stampedAtMs.set(name, this.#now());
        write.dots.push(dot);
        this.#stamped(nodeId, write, before && this.#decode(before), state);
      }
    }
  }

  #stamped(nodeId: string, write: WriteInfo, before: KeyState | undefined, after: KeyState): void {
    const op = this.#stamps.get(`${nodeId}/${write.id}`);
    const alive = new Set(after.versions.map((version) => hex(version.writeId)));
    for (const version of before?.versions ?? []) {
      const id = hex(version.writeId);
      if (alive.has(id)) continue;
      if (op?.clock && !this.#forgotten.has(id) && !version.dots.some((dot) => covers(op.clock!, dot)))
        this.problems.push(`at ${this.#now()} ${write.id} superseded ${id}, which its context does not name`);
      write.supersedes.add(id);
    }
    const buried = new Set<string>();
    for (const other of this.writesOf(write.key)) {
      if (other === write) continue;
      for (const dot of other.dots) {
        if (op?.clock && covers(op.clock, dot)) write.supersedes.add(other.id);
        if (covers(after.clock, dot) && !alive.has(other.id)) buried.add(other.id);
      }
    }
    if (write.dots.length === 1) this.#forgottenAtStamp.set(write.id, new Set(this.#forgotten.keys()));
    if (write.dots.length === 1 && op && !op.clock && !op.restamp)
      this.#blindAfter.set(write.id, new Set(this.#forgotten.keys()));
    if (write.acknowledged.length > 0) return;
    write.buries = write.dots.length === 1 ? buried : new Set([...write.buries].filter((id) => buried.has(id)));
  }

  #checkInvariants(nodeId: string, row: RowKey, state: KeyState): void {
    const ids = state.versions.map((version) => hex(version.writeId));
    if (new Set(ids).size !== ids.length)
      this.problems.push(`at ${this.#now()} ${nodeId} holds one write as two versions of ${row.key}: ${ids.join(" ")}`);
    for (const id of ids) {
      const before = this.#blindAfter.get(id);
      for (const other of before ? ids : [])
        if (before!.has(other) && this.writes.get(other)?.isDelete)
          this.problems.push(
            `at ${this.#now()} the purged delete ${other} of ${row.key} stands beside ${id} at ${nodeId}`,
          );
    }
    for (const version of state.versions) {
      if (!version.dots.every((dot) => covers(state.clock, dot)))
        this.problems.push(`at ${this.#now()} ${nodeId} holds a version of ${row.key} that its clock does not cover`);
    }
  }

  readDone(read: Omit<ReadInfo, "clock" | "shown" | "hasTombstone">, answer: SessionAnswer): void {
    if (answer.kind === "notFound") {
      this.reads.push({ ...read, clock: answer.clock, shown: [], hasTombstone: true });
    } else if (answer.kind === "value") {
      const values = answer.siblings ? answer.siblings.map((sibling) => sibling.value) : [answer.value];
      const shown = values.flatMap((value) => (value ? [new TextDecoder().decode(value)] : []));
      this.reads.push({ ...read, clock: answer.clock, shown, hasTombstone: values.includes(undefined) });
    }
  }
}
