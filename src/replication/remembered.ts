// What a replica remembers of writes: write id → first answer, and votes on bodies; in the engine's records (records.ts).
// Guarantees: looks everything up before it adds anything; what was heard during a filling counts only once that is complete.
// Must not: change rows.

import { type KeyState, sameBytes, type Version } from "../kv/key-state.ts";
import { entriesBeyond, findVersion } from "../kv/merge.ts";
import { answerClock } from "../kv/stamp.ts";
import type { RecordKey, RowKey, StorageEngine } from "../storage/types.ts";
import type { Clock } from "../wire/clock.ts";
import { BODY_HASH_BYTES } from "../wire/session.ts";
import type { ReplicaFacts } from "./facts.ts";
import type { ReplicaResult, VoteOp } from "./frames.ts";
import { decodeRecord, encodeAnswer, encodeHearsay, encodeVote, type StoredRecord, voteIdOf } from "./records.ts";

/** The hash that no request has: two sources remember different votes, so that no body may win by this replica's voice. */
const NO_BODY = new Uint8Array(BODY_HASH_BYTES);

export class Remembered {
  readonly #engine: StorageEngine;
  readonly #facts: Pick<ReplicaFacts, "isFilling" | "isFilled">;

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

  /** A version that is remembered here but no longer alive here was superseded here, under another dot. */
  isSuperseded({ tenant, token }: RowKey, version: Version): boolean {
    // What is not alive here may just not have been filled in yet.
    if (this.#facts.isFilling(tenant, token.hi)) return false;
    return this.recall(tenant, version.writeId) !== undefined;
  }

  /**
   * Records travel with states: of versions that are new here, and of unsettled writes that came along (spec KV-9). Looks
   * everything up before it adds anything: a lookup may find an unreadable record, and then nothing may have been applied.
   */
  rememberNew(row: RowKey, held: KeyState, merged: KeyState): void {
    const unknown = entriesBeyond(held.unsettled, merged.unsettled).filter(
      ({ writeId }) => !this.recall(row.tenant, writeId),
    );
    for (const version of merged.versions) {
      if (findVersion(held.versions, version.writeId)) continue;
      this.remember(row, version.writeId, answerClock(merged, version));
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
