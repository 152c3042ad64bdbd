// What a replica remembers of writes: write id → first answer, and votes on bodies; in the engine's records (records.ts).
// Guarantees: looks everything up before it adds anything; what was heard during a filling counts only once that is complete.
// Must not: change rows.

import { type KeyState, sameBytes, type Version } from "../kv/key-state.ts";
import { entriesBeyond, findVersion } from "../kv/merge.ts";
import { answerClock } from "../kv/stamp.ts";
import { CorruptBlock, type RecordKey, type RowKey, type StorageEngine } from "../storage/types.ts";
import type { Clock } from "../wire/clock.ts";
import type { ReplicaFacts } from "./facts.ts";
import type { ReplicaResult, VoteOp } from "./frames.ts";
import {
  decodeRecord,
  encodeAnswer,
  encodeHearsay,
  encodeVote,
  NO_BODY,
  type StoredRecord,
  voteIdOf,
} from "./records.ts";

/** Fillings are numbered from 1. */
const NO_FILLING = 0;

/** What was held, what came, and what is held then. */
export interface Merged {
  readonly held: KeyState;
  readonly incoming: KeyState;
  readonly merged: KeyState;
}

export class Remembered {
  readonly #engine: StorageEngine;
  readonly #facts: Pick<ReplicaFacts, "isFilling" | "isFilled">;
  /** While rows are compared whose records cannot be read: those count as not heard of, as in a filling (spec RP-101). */
  passesUnreadable = false;

  constructor({ engine, facts }: { engine: StorageEngine; facts: Pick<ReplicaFacts, "isFilling" | "isFilled"> }) {
    this.#engine = engine;
    this.#facts = facts;
  }

  recall(tenant: number, writeId: Uint8Array): Clock | undefined {
    const record = this.#engine.findRecord(tenant, writeId);
    const stored = record && decodeRecord(record);
    if (stored?.kind === "answer") return stored.answer;
    return stored?.kind === "hearsay" && this.#facts.isFilled(stored.epoch) ? stored.answer : undefined;
  }

  remember(row: RowKey, writeId: Uint8Array, answer: Clock): void {
    this.#engine.addRecord(row.tenant, writeId, encodeAnswer(row.token.hi, answer));
  }

  /**
   * Takes over what another replica remembers, during the filling `epoch`. Answers count only once it is complete (spec RP-45): until
   * then the row that they are about may still be missing here, and a remembered write that is missing is taken for superseded.
   */
  importRecord(epoch: number, key: RecordKey, stored: StoredRecord): void {
    const engine = this.#engine;
    const { tenant, writeId } = key;
    const place = stored.place ?? 0;
    if (stored.kind !== "vote") {
      if (!this.recall(tenant, writeId)) engine.addRecord(tenant, writeId, encodeHearsay(place, epoch, stored.answer));
      return;
    }
    const record = engine.findRecord(tenant, writeId);
    const held = record && decodeRecord(record);
    if (held?.kind !== "vote") engine.addRecord(tenant, writeId, encodeVote(place, stored.bodyHash));
    else if (!sameBytes(held.bodyHash, stored.bodyHash)) engine.addRecord(tenant, writeId, encodeVote(place, NO_BODY));
  }

  /**
   * A version goes with its row, not because something superseded it (spec RP-104): its record must not count. It is replaced by what
   * was heard of a filling that there never was.
   */
  unlearn({ tenant, token }: RowKey, { writeId, dots, time }: Version): void {
    const key = { tenant, writeId };
    if (!this.isUnreadable(key) && !this.recall(tenant, writeId)) return;
    this.#engine.addRecord(tenant, writeId, encodeHearsay(token.hi, NO_FILLING, { vector: [], dots, time }));
  }

  /** The record stands in a block that cannot be read, and nowhere else. */
  isUnreadable({ tenant, writeId }: RecordKey): boolean {
    try {
      this.#engine.findRecord(tenant, writeId);
      return false;
    } catch (error) {
      if (error instanceof CorruptBlock) return true;
      throw error;
    }
  }

  /** Takes the place of a record that cannot be read here. Only once the row it is about was compared (spec RP-101). */
  restore({ tenant, writeId }: RecordKey, stored: StoredRecord): void {
    const place = stored.place ?? 0;
    const isVote = stored.kind === "vote";
    const bytes = isVote ? encodeVote(place, stored.bodyHash) : encodeAnswer(place, stored.answer);
    this.#engine.addRecord(tenant, writeId, bytes);
  }

  /** A version that is remembered here but no longer alive here was superseded here, under another dot. */
  isSuperseded({ tenant, token }: RowKey, version: Version): boolean {
    // What is not alive here may just not have been filled in yet.
    if (this.#facts.isFilling(tenant, token.hi)) return false;
    return this.#recallWhereReadable(tenant, version.writeId) !== undefined;
  }

  #recallWhereReadable(tenant: number, writeId: Uint8Array): Clock | undefined {
    if (this.passesUnreadable && this.isUnreadable({ tenant, writeId })) return undefined;
    return this.recall(tenant, writeId);
  }

  /**
   * Records travel with states: of versions that are new here, and of unsettled writes that came along (spec KV-9). Looks
   * everything up before it adds anything: a lookup may find an unreadable record, and then nothing may have been applied.
   * A version's answer is what the `incoming` state says of it: of the state that its stamper shipped the first answer itself, whatever
   * siblings are held here (RP-6).
   */
  rememberNew(row: RowKey, { held, incoming, merged }: Merged): void {
    const unknown = entriesBeyond(held.unsettled, merged.unsettled).filter(
      ({ writeId }) => !this.#recallWhereReadable(row.tenant, writeId),
    );
    for (const version of merged.versions) {
      if (findVersion(held.versions, version.writeId)) continue;
      this.remember(row, version.writeId, answerClock(incoming, version));
    }
    for (const entry of unknown) this.remember(row, entry.writeId, { vector: [], dots: [entry.dot], time: 0 });
  }

  vote(op: VoteOp): ReplicaResult {
    const id = voteIdOf(op.writeId);
    const record = this.#engine.findRecord(op.row.tenant, id);
    const first = record && decodeRecord(record);
    if (first?.kind === "vote") return { kind: "voted", bodyHash: first.bodyHash, isFirst: false };
    this.#engine.addRecord(op.row.tenant, id, encodeVote(op.row.token.hi, op.bodyHash));
    return { kind: "voted", bodyHash: op.bodyHash, isFirst: true };
  }
}
