// One client write on its way: vote (only with a user's own idempotency key), recall (only where the write may have been stamped
// before), stamp at one replica, ship the whole state to the others, answer after W acknowledgements, hint the unreachable.
// Guarantees (spec RP): a write is answered `written` only after W distinct members of the write set hold it durably; a repeated
// write is stamped again only by a replica among a majority that does not remember it; pending nodes and hints never count.
// Must not: hold state beyond the call.
import type { Caller } from "../access/types.ts";
import type { ReplicaSets } from "../cluster/ring.ts";
import { addDots, joinClocks, sameDot } from "../kv/clock.ts";
import { sameBytes } from "../kv/key-state.ts";
import { MAX_SIBLINGS, MAX_STATE_BYTES, SETTLE_ALL_FROM } from "../kv/limits.ts";
import type { RowKey } from "../storage/types.ts";
import { type Clock, clockToMap, type Dot, EMPTY_CLOCK } from "../wire/clock.ts";
import type { ErrorCode } from "../wire/error-codes.ts";
import type { SessionAnswer, SessionRequest } from "../wire/session.ts";
import type { RefusalCode, ReplicaResult } from "./frames.ts";
import { hex } from "./hex.ts";
import type { ReplicaLink } from "./link.ts";

type Stamped = Extract<ReplicaResult, { kind: "stamped" }>;

export interface WriteContext {
  link(nodeId: string): ReplicaLink;
  /** Where the vote on a write id is held. */
  votePlace(tenant: number, writeId: Uint8Array, replicationFactor: number): { row: RowKey; sets: ReplicaSets };
  readonly counts: { hintsRequested: number; hintsLost: number; unknownOutcomes: number };
}

export interface WriteOptions {
  readonly caller: Caller;
  readonly request: SessionRequest;
  readonly row: RowKey;
  readonly sets: ReplicaSets;
  /** W: acknowledgements of members of `sets.write` needed. */
  readonly needed: number;
  readonly done: (answer: SessionAnswer) => void;
}

export function majority(count: number): number {
  return Math.floor(count / 2) + 1;
}

function aliveInAll(replies: readonly { readonly alive: readonly Dot[] }[]): Dot[] {
  const [first, ...others] = replies;
  return first!.alive.filter((dot) => others.every(({ alive }) => alive.some((held) => sameDot(held, dot))));
}

export class WriteCall {
  readonly #context: WriteContext;
  readonly #options: WriteOptions;
  readonly #writeId: Uint8Array;
  /** Replicas that were asked to stamp and did not answer: they may hold the write. */
  readonly #uncertain = new Set<string>();
  /** An attempt before this one may have been applied. Of a client's own id only the vote says that this is the first. */
  #mayBeRepeated: boolean;
  /** Those of them that said their copy is unreadable: they stamped nothing. */
  readonly #unreadable = new Set<string>();
  #answered = false;
  #acknowledged = 0;

  constructor(context: WriteContext, options: WriteOptions) {
    this.#context = context;
    this.#options = options;
    this.#writeId = options.request.writeId!;
    this.#mayBeRepeated = options.request.isRetry === true || options.request.bodyHash !== undefined;
  }

  start(): void {
    const { sets, needed, request } = this.#options;
    const reachable = sets.write.filter((id) => !this.#context.link(id).isOpen);
    if (reachable.length < needed) return this.#unavailable(reachable.length);
    if (request.bodyHash) this.#vote();
    else if (request.isRetry) this.#recall();
    else this.#stampFirst();
  }

  #stampFirst(): void {
    const { sets } = this.#options;
    const reachable = sets.write.find((id) => !this.#context.link(id).isOpen);
    this.#stampAt(reachable ?? sets.write[0]!);
  }

  #vote(): void {
    const { caller, request, sets } = this.#options;
    const place = this.#context.votePlace(caller.tenant, this.#writeId, caller.replicationFactor);
    const voters = place.sets.write;
    const needed = majority(voters.length);
    const bodyHash = request.bodyHash!;
    let same = 0;
    let other = 0;
    let fresh = 0;
    let open = voters.length;
    let decided = false;
    for (const id of voters) {
      this.#context.link(id).send({ kind: "vote", row: place.row, writeId: this.#writeId, bodyHash }, (result) => {
        open--;
        if (result?.kind === "voted") {
          if (sameBytes(result.bodyHash, bodyHash)) same++;
          else other++;
          if (result.isFirst) fresh++;
        }
        if (decided) return;
        if (same >= needed) {
          decided = true;
          // A stamp follows a majority's vote: where a majority hears of the write for the first time, nobody has stamped it. But an
          // id that the house made (`isRetry`) was first sent without a vote.
          if (fresh < needed || request.isRetry) return this.#recall();
          this.#mayBeRepeated = false;
          this.#stampFirst();
        } else if (same + open < needed) {
          decided = true;
          if (other > 0)
            this.#fail("idempotencyKeyReused", "this Idempotency-Key was used before with another request");
          else this.#unavailable(sets.write.length - voters.length + same);
        }
      });
    }
  }

  /**
   * Asks a majority whether the write is remembered; then stamps where it is, or at one that answered no. Where several remember
   * it differently, the latest stamp is the one that was acknowledged: an earlier one was a stray that no majority knew of.
   */
  #recall(): void {
    const { sets, row } = this.#options;
    const needed = majority(sets.write.length);
    const aware: { readonly id: string; readonly time: number }[] = [];
    const unaware: { readonly id: string; readonly alive: readonly Dot[] }[] = [];
    let open = sets.write.length;
    let decided = false;
    for (const id of sets.write) {
      this.#context.link(id).send({ kind: "recall", row, writeId: this.#writeId }, (result) => {
        open--;
        if (decided) return;
        if (result?.kind === "refused" && result.code === "tenantErased") {
          decided = true;
          this.#refuse(result.code, result.clock);
          return;
        }
        if (result?.kind === "recalled") {
          if (result.answer) aware.push({ id, time: result.answer.time });
          else unaware.push({ id, alive: result.alive });
        }
        if (open > 0 && aware.length + unaware.length < needed) return;
        decided = true;
        const isUnreadable = (id: string): number => (this.#unreadable.has(id) ? 1 : 0);
        const latest = aware.sort((a, b) => b.time - a.time || isUnreadable(a.id) - isUnreadable(b.id))[0];
        if (latest) this.#stampAt(latest.id, []);
        else if (unaware.length >= needed)
          this.#stampAt(this.#certain(unaware.map(({ id }) => id)), aliveInAll(unaware));
        else this.#unknown();
      });
    }
  }

  /** In order of preference, one that did not leave us in doubt before. */
  #certain(nodes: readonly string[]): string {
    const inOrder = this.#options.sets.write.filter((id) => nodes.includes(id));
    return inOrder.find((id) => !this.#uncertain.has(id)) ?? inOrder[0]!;
  }

  /**
   * `aliveInMajority`: given when the write may have been stamped before (restamp). Such a stamp without a context supersedes only
   * what a majority held when it was recalled, old and stamped by no retry: two writes whose answers were lost, retried in the
   * other order at another replica, would otherwise supersede each other and leave nothing.
   */
  #stampAt(nodeId: string, aliveInMajority?: readonly Dot[]): void {
    const { caller, request, row } = this.#options;
    const link = this.#context.link(nodeId);
    const restamp = aliveInMajority !== undefined;
    const isBlind = !request.clock || caller.conflictPolicy === "lastWriteWins";
    const op = {
      kind: "stamp" as const,
      row,
      writeId: this.#writeId,
      value: request.value,
      clock: restamp && isBlind ? addDots(request.clock ?? EMPTY_CLOCK, aliveInMajority) : request.clock,
      restamp,
      supersedeAll: !restamp && caller.conflictPolicy === "lastWriteWins",
    };
    link.send(op, (result) => {
      if (result?.kind === "stamped") return this.#ship(nodeId, result);
      const isElsewhere = result?.kind === "refused" && (result.code === "corrupt" || result.code === "expired");
      if (result?.kind === "refused" && !isElsewhere) return this.#refuse(result.code, result.clock);
      if (result?.kind === "refused" && result.code === "corrupt") this.#unreadable.add(nodeId);
      this.#stampElsewhere(nodeId, result === undefined);
    });
  }

  /** The first replica did not answer: it may have stamped, so a majority is asked before another one does. */
  #stampElsewhere(nodeId: string, mayHaveStamped: boolean): void {
    const { sets } = this.#options;
    if (this.#uncertain.has(nodeId)) return this.#unknown();
    this.#uncertain.add(nodeId);
    const isUntouched = [...this.#uncertain].every((id) => this.#unreadable.has(id)) && !this.#options.request.isRetry;
    if (this.#uncertain.size >= sets.write.length) return isUntouched ? this.#corrupt() : this.#unknown();
    if (mayHaveStamped || (this.#uncertain.size > 1 && !isUntouched) || this.#options.request.isRetry)
      return this.#recall();
    const next = sets.write.find((id) => !this.#uncertain.has(id) && !this.#context.link(id).isOpen);
    if (next) this.#stampAt(next);
    else this.#unknown();
  }

  #ship(stamper: string, stamped: Stamped): void {
    const { sets, row, request } = this.#options;
    const tail = stamped.wantsValue ? request.value : undefined;
    // Now, in the turn of the stamp's answer: a node rebuilt meanwhile would answer with another actor.
    const { actor } = this.#context.link(stamper);
    const answer: Clock = request.clock ? joinClocks(stamped.answer, request.clock) : stamped.answer;
    this.#acknowledged = 1;
    let open = sets.write.length - 1;
    let settled = false;
    const progress = (): void => {
      if (!settled && this.#acknowledged >= majority(sets.write.length)) {
        settled = true;
        this.#settle(stamper, actor, stamped);
      }
      if (this.#acknowledged >= this.#options.needed) this.#written(answer);
      else if (this.#acknowledged + open < this.#options.needed) this.#unknown();
    };
    for (const id of [...sets.write, ...sets.pending]) {
      if (id === stamper) continue;
      const counts = sets.write.includes(id);
      this.#context.link(id).send({ kind: "merge", row, state: stamped.prefix, tail }, (result) => {
        if (counts) open--;
        if (result?.kind === "done") {
          if (counts) this.#acknowledged++;
        } else if (result === undefined || result.kind === "refused") {
          this.#hint(stamper, id, stamped.prefix, tail);
        }
        progress();
      });
    }
    progress();
  }

  /** A majority holds the stamp: what it carried need not be carried further. */
  #settle(stamper: string, actor: number, stamped: Stamped): void {
    if (stamped.repeated) return;
    const everywhere = stamped.unsettledCount >= SETTLE_ALL_FROM;
    for (const id of everywhere ? this.#options.sets.write : [stamper])
      this.#context.link(id).noteSettled(actor, stamped.counter);
  }

  #hint(keeper: string, target: string, state: Uint8Array, tail: Uint8Array | undefined): void {
    this.#context.counts.hintsRequested++;
    this.#context.link(keeper).send({ kind: "hint", row: this.#options.row, target, state, tail }, (result) => {
      if (result?.kind !== "done") this.#context.counts.hintsLost++;
    });
  }

  #finish(answer: SessionAnswer): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#options.done(answer);
  }

  #fail(code: ErrorCode, message: string, details?: Readonly<Record<string, unknown>>): void {
    this.#finish({ id: this.#options.request.id, kind: "error", code, message, details });
  }

  #written(clock: Clock): void {
    this.#finish({ id: this.#options.request.id, kind: "written", clock });
  }

  #unavailable(reachableCount: number): void {
    const { needed } = this.#options;
    // What is true of this attempt is not known of the one before.
    if (this.#mayBeRepeated) return this.#unknown();
    this.#fail(
      "quorumUnavailable",
      `${reachableCount} replicas can be reached, ${needed} are needed; nothing was written`,
      {
        needed,
        reachable: reachableCount,
      },
    );
  }

  #corrupt(): void {
    this.#fail(
      "dataCorrupt",
      "every replica that could be asked holds this key in a block that failed its checksum; nothing was written",
    );
  }

  /** `refusal`: why this attempt was not applied, where that is known. */
  #unknown(refusal?: { readonly code: RefusalCode; readonly vectorClock: unknown }): void {
    if (this.#answered) return;
    const { needed } = this.#options;
    const acknowledged = this.#acknowledged;
    this.#context.counts.unknownOutcomes++;
    this.#fail(
      "unknownOutcome",
      `${acknowledged} of ${needed} needed replicas acknowledged in time: the write may have been applied. Retry it with its write id`,
      { writeId: hex(this.#writeId), acknowledged, needed, mayHaveBeenApplied: true, ...(refusal && { refusal }) },
    );
  }

  #refuse(code: RefusalCode, clock: Clock): void {
    const details = { vectorClock: clockToMap(clock) };
    // Another replica may have stamped the write before this one refused it, now or in an earlier attempt.
    if ((this.#uncertain.size > 0 || this.#mayBeRepeated) && code !== "tenantErased")
      return this.#unknown({ code, ...details });
    switch (code) {
      case "tooManySiblings":
        return this.#fail(
          "tooManySiblings",
          `the key holds the greatest number of concurrent versions, ${MAX_SIBLINGS}`,
          details,
        );
      case "stateTooLarge":
        return this.#fail(
          "tooManySiblings",
          `the key's concurrent versions would exceed ${MAX_STATE_BYTES} bytes`,
          details,
        );
      case "clockAhead":
        return this.#fail("malformedClock", "the vector clock names writes or times that have not happened");
      case "tenantErased":
        return this.#fail("unauthenticated", "the tenant was deleted");
      case "overloaded":
      case "deferred":
      case "hintsFull":
        return this.#fail("overloaded", "the replica is at its bound; nothing was written");
      case "expired":
        return this.#unknown();
      case "corrupt":
        return this.#corrupt();
      default:
        throw new Error(`unknown refusal ${code satisfies never}`);
    }
  }
}
