// One client write on its way: vote (only with a user's own idempotency key), recall (only where the write may have been stamped
// before), stamp at one replica, ship the whole state to the others, answer after W acknowledgements, hint the unreachable.
// Guarantees (spec RP): a write is answered `written` only after W distinct members of the write set hold it durably; a repeated
// write is stamped again only by a replica among a majority that does not remember it; pending nodes and hints never count.
// Must not: hold state beyond the call.
import type { Caller, TenantRoute } from "../access/types.ts";
import type { ReplicaSets } from "../cluster/ring.ts";
import { addDots, includes, joinClocks, sameDot } from "../kv/clock.ts";
import { sameBytes } from "../kv/key-state.ts";
import { MAX_SIBLINGS, MAX_STATE_BYTES, SETTLE_ALL_FROM } from "../kv/limits.ts";
import type { RowKey } from "../storage/types.ts";
import { type Clock, clockToMap, type Dot, EMPTY_CLOCK } from "../wire/clock.ts";
import type { ErrorCode } from "../wire/error-codes.ts";
import type { SessionAnswer, SessionRequest } from "../wire/session.ts";
import type { RefusalCode, ReplicaOp, ReplicaResult } from "./frames.ts";
import { hex } from "./hex.ts";
import { FIRST_STAMP_TIMEOUTS } from "./limits.ts";
import type { Environment, OpDone, ReplicaLink } from "./link.ts";
import { type Group, majorities, majority, Tally } from "./tally.ts";

type Stamped = Extract<ReplicaResult, { kind: "stamped" }>;

export interface WriteContext {
  readonly environment: Pick<Environment, "now" | "setTimer" | "replicaTimeoutMs">;
  link(nodeId: string): ReplicaLink;
  /** Where the vote on a write id is held. */
  votePlace(tenant: number, writeId: Uint8Array, route: TenantRoute): { row: RowKey; sets: ReplicaSets };
  readonly counts: { hintsRequested: number; hintsLost: number; unknownOutcomes: number };
}

export interface WriteOptions {
  readonly caller: Caller;
  readonly request: SessionRequest;
  readonly row: RowKey;
  readonly sets: ReplicaSets;
  /** Whose acknowledgements are needed, and how many of each: of `sets.write`, and while these change of the new ones too. */
  readonly groups: readonly Group[];
  readonly route: TenantRoute;
  /** When the request came. */
  readonly startedAtMs: number;
  readonly done: (answer: SessionAnswer) => void;
  /**
   * Called in place of `done`, once, when replicas know of a newer route and the write cannot be done by this one. `isInDoubt`: some
   * replica may have stamped it.
   */
  readonly stale: (revision: number, isInDoubt: boolean) => void;
}

function aliveInAll(replies: readonly { readonly alive: readonly Dot[] }[]): Dot[] {
  const [first, ...others] = replies;
  return first!.alive.filter((dot) => others.every(({ alive }) => alive.some((held) => sameDot(held, dot))));
}

/** The first answer before others: a later stamp's before an earlier's (RP-33), of one stamp the fuller. */
function byWhatIsKnown(a: Clock, b: Clock): number {
  return b.time - a.time || Number(includes(b, a)) - Number(includes(a, b));
}

export class WriteCall {
  readonly #context: WriteContext;
  readonly #options: WriteOptions;
  readonly #writeId: Uint8Array;
  /** Replicas that were asked to stamp and did not answer: they may hold the write. */
  readonly #uncertain: string[] = [];
  /** An attempt before this one may have been applied. Of a client's own id only the vote says that this is the first. */
  #mayBeRepeated: boolean;
  /** Those of them that said their copy is unreadable: they stamped nothing. */
  readonly #unreadable: string[] = [];
  readonly #acknowledged: Tally;
  readonly #routeRevision: number;
  #staleRevision = 0;
  #isStamped = false;
  #answered = false;

  constructor(context: WriteContext, options: WriteOptions) {
    this.#context = context;
    this.#options = options;
    this.#acknowledged = new Tally(options.groups);
    this.#routeRevision = options.route.routeRevision ?? 0;
    this.#writeId = options.request.writeId!;
    this.#mayBeRepeated = options.request.isRetry === true || options.request.bodyHash !== undefined;
  }

  #send(id: string, op: ReplicaOp, done: OpDone, late?: () => void): void {
    const sinceMs = op.kind === "stamp" && !op.restamp ? this.#options.startedAtMs : undefined;
    this.#context.link(id).send(op, done, this.#routeRevision, sinceMs, late);
  }

  get #needed(): number {
    return this.#options.groups[0]!.needed;
  }

  start(): void {
    const { groups, request } = this.#options;
    for (const { members, needed } of groups) {
      // One that is being rebuilt takes the write and does not count: better nothing is written than on too few.
      const reachable = members.filter((id) => !this.#context.link(id).isOpen && !this.#context.link(id).isFilling);
      if (reachable.length < needed) return this.#unavailable(reachable.length);
    }
    if (request.bodyHash) this.#vote();
    else if (request.isRetry) this.#recall();
    else this.#stampFirst();
  }

  #stampFirst(): void {
    const { sets } = this.#options;
    const isOpen = (id: string): boolean => this.#context.link(id).isOpen;
    const reachable = sets.write.filter((id) => !isOpen(id) && !this.#context.link(id).isFilling);
    const prompt = reachable.find((id) => !this.#context.link(id).isStalled);
    this.#stampAt(prompt ?? reachable[0] ?? sets.write.find((id) => !isOpen(id)) ?? sets.write[0]!);
  }

  #vote(): void {
    const { caller, request, route } = this.#options;
    const place = this.#context.votePlace(caller.tenant, this.#writeId, route);
    const { write, joint } = place.sets;
    const voters = joint ? [...new Set([...write, ...joint])] : write;
    const bodyHash = request.bodyHash!;
    const same = new Tally(majorities(write, joint));
    const fresh = new Tally(majorities(write));
    let other = 0;
    let decided = false;
    for (const id of voters) {
      this.#send(id, { kind: "vote", row: place.row, writeId: this.#writeId, bodyHash }, (result) => {
        if (decided) return;
        const isSame = result?.kind === "voted" && sameBytes(result.bodyHash, bodyHash);
        if (isSame) same.count(id);
        else same.lose(id);
        if (result?.kind === "voted" && !isSame) other++;
        if (result?.kind === "voted" && result.isFirst) fresh.count(id);
        if (result?.kind === "stale") this.#staleRevision = Math.max(this.#staleRevision, result.revision);
        if (same.isReached) {
          decided = true;
          // A stamp follows a majority's vote: where a majority hears of the write for the first time, nobody has stamped it. But an
          // id that the house made (`isRetry`) was first sent without a vote.
          if (!fresh.isReached || request.isRetry) return this.#recall();
          this.#mayBeRepeated = false;
          this.#stampFirst();
        } else if (same.isLost) {
          decided = true;
          if (this.#staleRevision > 0) this.#restart();
          else if (other > 0)
            this.#fail("idempotencyKeyReused", "this Idempotency-Key was used before with another request");
          else this.#unavailable(same.countedCount);
        }
      });
    }
  }

  /**
   * Asks a majority whether the write is remembered; then stamps where it is, or at one that answered no. Where several remember
   * it differently, the latest stamp is the one that was acknowledged: an earlier one was a stray that no majority knew of. Of one stamp
   * the fuller answer is the first: who learned of the write from a repair, beside a sibling, knows its dot alone (RP-6).
   * A replica that answered no refuses a first attempt from then on. Of the others one may still be under way to it (spec RP-140):
   * after a wait there is none, and all are asked once more whether it has been applied meanwhile.
   */
  #recall(hasWaited = false): void {
    const { sets, row } = this.#options;
    const needed = majority(sets.write.length);
    const aware: { readonly id: string; readonly answer: Clock }[] = [];
    const unaware: { readonly id: string; readonly alive: readonly Dot[] }[] = [];
    let open = sets.write.length;
    const { environment } = this.#context;
    const startedMs = environment.now();
    let unreadable = 0;
    let decided = false;
    const stampAnew = (): void => {
      decided = true;
      this.#stampAt(this.#certain(unaware.map(({ id }) => id)), aliveInAll(unaware));
    };
    for (const id of sets.write) {
      this.#send(id, { kind: "recall", row, writeId: this.#writeId }, (result) => {
        open--;
        if (decided) return;
        if (result?.kind === "stale") {
          decided = true;
          this.#staleRevision = result.revision;
          this.#restart();
          return;
        }
        if (result?.kind === "refused" && result.code === "tenantErased") {
          decided = true;
          this.#refuse(result.code, result.clock);
          return;
        }
        if (result?.kind === "refused" && result.code === "corrupt") unreadable++;
        if (result?.kind === "recalled") {
          if (result.answer) aware.push({ id, answer: result.answer });
          else unaware.push({ id, alive: result.alive });
        }
        if (open > 0 && aware.length + unaware.length < needed) return;
        const mustWait = !hasWaited && this.#mayBeRepeated && this.#isBlind && unaware.length < sets.write.length;
        if (aware.length === 0 && unaware.length >= needed) {
          if (!mustWait) return stampAnew();
          const leftMs = startedMs + FIRST_STAMP_TIMEOUTS * environment.replicaTimeoutMs - environment.now();
          if (open === 0) environment.setTimer(Math.max(0, leftMs), () => this.#recall(true));
          return;
        }
        decided = true;
        const isUnreadable = (id: string): number => (this.#unreadable.includes(id) ? 1 : 0);
        const latest = aware.sort(
          (a, b) => byWhatIsKnown(a.answer, b.answer) || isUnreadable(a.id) - isUnreadable(b.id),
        )[0];
        if (latest) this.#stampAt(latest.id, []);
        else this.#unknown(unreadable === sets.write.length ? { code: "corrupt" } : undefined);
      });
    }
  }

  /** It supersedes what it was not told of. */
  get #isBlind(): boolean {
    const { caller, request } = this.#options;
    return !request.clock || caller.conflictPolicy === "lastWriteWins";
  }

  /** In order of preference, one that did not leave us in doubt before. */
  #certain(nodes: readonly string[]): string {
    const inOrder = this.#options.sets.write.filter((id) => nodes.includes(id));
    return inOrder.find((id) => !this.#uncertain.includes(id)) ?? inOrder[0]!;
  }

  /**
   * `aliveInMajority`: given when the write may have been stamped before (restamp). Such a stamp without a context supersedes only
   * what a majority held when it was recalled, old and stamped by no retry: two writes whose answers were lost, retried in the
   * other order at another replica, would otherwise supersede each other and leave nothing.
   */
  #stampAt(nodeId: string, aliveInMajority?: readonly Dot[]): void {
    const { caller, request, row, sets } = this.#options;
    const restamp = aliveInMajority !== undefined;
    const op = {
      kind: "stamp" as const,
      row,
      writeId: this.#writeId,
      value: request.value,
      clock: restamp && this.#isBlind ? addDots(request.clock ?? EMPTY_CLOCK, aliveInMajority) : request.clock,
      restamp,
      supersedeAll: !restamp && caller.conflictPolicy === "lastWriteWins",
    };
    let isGivenUp = false;
    // Once, and not where nobody else could take it: whoever is slow but alone is waited for.
    const canGiveUp = this.#uncertain.length === 0 && sets.write.length > 1;
    const late = (): void => {
      isGivenUp = true;
      this.#stampElsewhere(nodeId, true);
    };
    const done: OpDone = (result) => {
      if (isGivenUp) return;
      if (result?.kind === "stamped") return this.#ship(nodeId, result);
      if (result?.kind === "stale") {
        this.#staleRevision = result.revision;
        return this.#restart();
      }
      const isFilling = result?.kind === "refused" && result.code === "bootstrapping";
      if (isFilling) this.#context.link(nodeId).noteFilling();
      if (result?.kind === "refused" && result.code === "retried") {
        this.#mayBeRepeated = true;
        return this.#recall();
      }
      const isElsewhere =
        isFilling || (result?.kind === "refused" && (result.code === "corrupt" || result.code === "expired"));
      if (result?.kind === "refused" && !isElsewhere) return this.#refuse(result.code, result.clock);
      if (result?.kind === "refused" && result.code === "corrupt") this.#unreadable.push(nodeId);
      this.#stampElsewhere(nodeId, result === undefined);
    };
    this.#send(nodeId, op, done, canGiveUp ? late : undefined);
  }

  /** The first replica did not answer: it may have stamped, so a majority is asked before another one does. */
  #stampElsewhere(nodeId: string, mayHaveStamped: boolean): void {
    const { sets } = this.#options;
    if (this.#uncertain.includes(nodeId)) return this.#unknown();
    this.#uncertain.push(nodeId);
    const isUntouched = this.#uncertain.every((id) => this.#unreadable.includes(id)) && !this.#mayBeRepeated;
    if (this.#uncertain.length >= sets.write.length) return isUntouched ? this.#corrupt() : this.#unknown();
    if (mayHaveStamped || (this.#uncertain.length > 1 && !isUntouched) || this.#mayBeRepeated) return this.#recall();
    const next = sets.write.find((id) => !this.#uncertain.includes(id) && !this.#context.link(id).isOpen);
    if (next) this.#stampAt(next);
    else this.#unknown();
  }

  #ship(stamper: string, stamped: Stamped): void {
    const { sets, row, request } = this.#options;
    const tail = stamped.wantsValue ? request.value : undefined;
    // Now, in the turn of the stamp's answer: a node rebuilt meanwhile would answer with another actor.
    const { actor } = this.#context.link(stamper);
    const answer: Clock = request.clock ? joinClocks(stamped.answer, request.clock) : stamped.answer;
    this.#isStamped = true;
    this.#acknowledged.count(stamper);
    const spread = new Tally(majorities(sets.write, sets.joint));
    spread.count(stamper);
    let settled = false;
    const progress = (): void => {
      if (!settled && spread.isReached) {
        settled = true;
        this.#settle(stamper, actor, stamped);
      }
      if (this.#acknowledged.isReached) this.#written(answer);
      else if (this.#acknowledged.isLost) {
        if (this.#staleRevision > 0) this.#restart();
        else this.#unknown();
      }
    };
    const { joint } = sets;
    const all = joint ? new Set([...sets.write, ...joint, ...sets.pending]) : [...sets.write, ...sets.pending];
    for (const id of all) {
      if (id === stamper) continue;
      this.#send(id, { kind: "merge", row, state: stamped.prefix, tail }, (result) => {
        if (result?.kind === "done") {
          this.#acknowledged.count(id);
          spread.count(id);
        } else {
          this.#acknowledged.lose(id);
          // A replica that is being filled has taken the state; it only does not count.
          if (result?.kind === "pending") this.#context.link(id).noteFilling();
          else this.#hint(stamper, id, stamped.prefix, tail);
          if (result?.kind === "stale") this.#staleRevision = Math.max(this.#staleRevision, result.revision);
        }
        progress();
      });
    }
    progress();
  }

  /** The replicas that the write was sent to are not the tenant's any more. */
  #restart(): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#options.stale(this.#staleRevision, this.#isStamped || this.#uncertain.length > 0);
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
    this.#send(keeper, { kind: "hint", row: this.#options.row, target, state, tail }, (result) => {
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
    const needed = this.#needed;
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
  #unknown(refusal?: { readonly code: RefusalCode; readonly vectorClock?: unknown }): void {
    if (this.#answered) return;
    const needed = this.#needed;
    const acknowledged = this.#acknowledged.countedCount;
    this.#context.counts.unknownOutcomes++;
    this.#fail(
      "unknownOutcome",
      refusal?.code === "corrupt"
        ? "every replica holds this key in a block that failed its checksum; an earlier attempt may have been applied"
        : `${acknowledged} of ${needed} needed replicas acknowledged in time: the write may have been applied. Retry it with its write id`,
      { writeId: hex(this.#writeId), acknowledged, needed, mayHaveBeenApplied: true, ...(refusal && { refusal }) },
    );
  }

  #refuse(code: RefusalCode, clock: Clock): void {
    const details = { vectorClock: clockToMap(clock) };
    // Another replica may have stamped the write before this one refused it, now or in an earlier attempt.
    if ((this.#uncertain.length > 0 || this.#mayBeRepeated) && code !== "tenantErased")
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
      case "bootstrapping":
      case "hintsFull":
        return this.#fail("overloaded", "the replica is at its bound; nothing was written");
      case "expired":
      case "retried":
        return this.#unknown();
      case "corrupt":
        return this.#corrupt();
      default:
        throw new Error(`unknown refusal ${code satisfies never}`);
    }
  }
}
