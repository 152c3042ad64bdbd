// One client read: asks R replicas (another one where one fails), joins what they hold, repairs those that were behind, answers.
// Guarantees: at `quorum` and `all` the joined state is on R replicas before it is shown, so a later quorum read never shows an
// older one (ADR 0013); what one of them remembers as superseded is not shown; a replica whose copy is unreadable gets the joined
// state of so many others that every write a majority acknowledged is in it (ADR 0028). Must not: hold state beyond the call.
import type { Caller } from "../access/types.ts";
import type { ReplicaSets } from "../cluster/ring.ts";
import { decodeState, EMPTY_STATE, encodeState, sameBytes } from "../kv/key-state.ts";
import { mergeStates } from "../kv/merge.ts";
import { type Resolved, resolveState } from "../kv/resolve.ts";
import type { RowKey } from "../storage/types.ts";
import { MalformedBytes } from "../wire/bytes.ts";
import { EMPTY_CLOCK, MalformedClock } from "../wire/clock.ts";
import type { SessionAnswer, SessionRequest } from "../wire/session.ts";
import type { ReplicaOp } from "./frames.ts";
import type { OpDone, ReplicaLink } from "./link.ts";
import { type Group, readQuorum, Tally } from "./tally.ts";

export interface ReadContext {
  link(nodeId: string): ReplicaLink;
  readonly counts: { readRepairs: number; corruptReads: number };
}

export interface ReadOptions {
  readonly caller: Caller;
  readonly request: SessionRequest;
  readonly row: RowKey;
  readonly sets: ReplicaSets;
  /** R of `sets.read`, and while the replicas change so many of the new ones too. */
  readonly groups: readonly Group[];
  /** Of ring and route. */
  readonly fence: number;
  readonly done: (answer: SessionAnswer) => void;
  /** Called in place of `done`, once, when a replica knows of a newer route. */
  readonly stale: (revision: number) => void;
}

interface Reply {
  readonly nodeId: string;
  state: Uint8Array | undefined;
}

/** Two are enough when nobody writes meanwhile: one to hear of superseded versions, one to bring the news to all. */
const MAX_REPAIR_ROUNDS = 4;

export class ReadCall {
  readonly #context: ReadContext;
  readonly #options: ReadOptions;
  readonly #waiting: string[];
  /** Of those that hold an intact copy. */
  readonly #answered: Tally;
  /** The same, and those that may still answer. */
  readonly #hoped: Tally;
  readonly #replies: Reply[] = [];
  /** Replicas whose copy failed its checksum. */
  readonly #corrupt: string[] = [];
  #completed = false;
  #finished = false;

  constructor(context: ReadContext, options: ReadOptions) {
    this.#context = context;
    this.#options = options;
    const { read, joint } = options.sets;
    const all = joint ? [...new Set([...read, ...joint])] : [...read];
    const rank = (id: string): number => {
      const link = context.link(id);
      return link.isOpen ? 2 : link.isFilling || link.isStalled ? 1 : 0;
    };
    this.#waiting = all.some((id) => rank(id) > 0) ? all.sort((a, b) => rank(a) - rank(b)) : all;
    this.#answered = new Tally(options.groups);
    this.#hoped = new Tally(options.groups);
  }

  start(): void {
    this.#askMore();
  }

  #send(nodeId: string, op: ReplicaOp, done: OpDone, late?: () => void): void {
    this.#context.link(nodeId).send(op, done, this.#options.fence, undefined, late);
  }

  /** Asks so many more that every group would have enough, if all of them answered. */
  #askMore(): void {
    if (this.#completed) return;
    for (const [i, { members, needed }] of this.#options.groups.entries()) {
      for (let short = needed - this.#hoped.countedIn(i); short > 0; short--) {
        const at = this.#waiting.findIndex((id) => members.includes(id));
        if (at < 0) return this.#allAsked();
        this.#ask(this.#waiting.splice(at, 1)[0]!);
      }
    }
  }

  #ask(nodeId: string): void {
    this.#hoped.count(nodeId);
    const done: OpDone = (result) => {
      if (this.#finished) return;
      if (result?.kind === "state") {
        // One more than was needed: another was late.
        if (this.#completed) return;
        this.#replies.push({ nodeId, state: result.state });
        this.#answered.count(nodeId);
        if (this.#answered.isReached) this.#complete();
        else this.#askMore();
        return;
      }
      this.#hoped.uncount(nodeId);
      if (result?.kind === "stale") return this.#stale(result.revision);
      if (result?.kind === "refused" && result.code === "tenantErased")
        return this.#finish({ ...this.#error, code: "unauthenticated", message: "the tenant was deleted" });
      if (result?.kind === "refused" && result.code === "bootstrapping") this.#context.link(nodeId).noteFilling();
      if (result?.kind === "refused" && result.code === "corrupt") {
        this.#corrupt.push(nodeId);
        this.#context.counts.corruptReads++;
      }
      this.#askMore();
    };
    this.#send(nodeId, { kind: "get", row: this.#options.row }, done, () => this.#askInstead());
  }

  /** Somebody is late: one more is asked, and whoever answers first counts. */
  #askInstead(): void {
    const next = this.#completed || this.#finished ? undefined : this.#waiting.shift();
    if (next !== undefined) this.#ask(next);
  }

  #stale(revision: number): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#options.stale(revision);
  }

  /**
   * Do so many intact answers suffice to heal an unreadable copy? Any majority that acknowledged a write with that copy in it shares
   * at least one replica with them. While the replicas change nothing is healed by reads.
   */
  #mayHeal(intactCount: number): boolean {
    return this.#options.groups.length === 1 && intactCount >= readQuorum(this.#options.sets.read.length);
  }

  /** No replica is left to ask: goes on while enough can still answer, or be healed by those that do. */
  #allAsked(): void {
    const intact = this.#hoped.countedCount;
    const isEnough = intact + this.#corrupt.length >= this.#options.groups[0]!.needed;
    if (!isEnough || !this.#mayHeal(intact)) {
      // Whether a retry can help depends on what those say that were asked and have not answered.
      if (this.#corrupt.length > 0 && intact > this.#replies.length) return;
      this.#unavailable();
    } else if (intact === this.#replies.length) this.#complete();
  }

  get #error(): { id: number; kind: "error" } {
    return { id: this.#options.request.id, kind: "error" };
  }

  /** Too few copies are left even if every replica that is away came back with an intact one (spec RP-90). */
  get #isHopeless(): boolean {
    return this.#options.groups.some(({ members, needed }) => {
      const leftCount = members.filter((id) => !this.#corrupt.includes(id)).length;
      return leftCount < needed && leftCount < readQuorum(members.length);
    });
  }

  #unavailable(): void {
    const { needed } = this.#options.groups[0]!;
    const answered = this.#answered.countedCount;
    const unreadable = this.#corrupt.length;
    const details = { needed, answered, ...(unreadable > 0 ? { unreadable } : {}) };
    const holders = `${unreadable} replicas hold this key in a block that failed its checksum`;
    if (unreadable > 0 && this.#isHopeless) {
      const message = `${holders}, and too few intact ones are left`;
      return this.#finish({ ...this.#error, code: "dataCorrupt", message, details });
    }
    const message = `${answered} replicas answered in time, ${needed} are needed${unreadable > 0 ? `; ${holders}` : ""}`;
    this.#finish({ ...this.#error, code: "quorumUnavailable", message, details });
  }

  #complete(): void {
    this.#completed = true;
    const first = this.#replies[0]!.state;
    if (this.#replies.every((reply) => sameState(reply.state, first))) this.#agreed(first);
    else this.#repair(MAX_REPAIR_ROUNDS);
  }

  /**
   * Brings the joined state to every replica that answered. One that remembers a version as superseded (spec KV-7) says so by
   * answering with another state than it was sent: then these are joined and brought to all again.
   */
  #repair(roundsLeft: number): void {
    let joined = EMPTY_STATE;
    for (const reply of this.#replies) if (reply.state) joined = mergeStates(joined, decodeState(reply.state));
    // Nobody holds anything: an empty state stands where an unreadable row was healed with nothing.
    if (joined.versions.length === 0 && joined.clock.vector.length === 0) return this.#agreed(undefined);
    const merged = encodeState(joined);
    const stale = this.#replies.filter((reply) => !sameState(reply.state, merged));
    let open = stale.length;
    let isSettled = true;
    for (const reply of stale) {
      this.#context.counts.readRepairs++;
      const op = { kind: "repair" as const, row: this.#options.row, state: merged };
      this.#send(reply.nodeId, op, (result) => {
        if (result?.kind === "stale") return this.#stale(result.revision);
        if (result?.kind !== "done" && result?.kind !== "state") return this.#unavailable();
        reply.state = merged;
        if (result.kind === "state") {
          isSettled = false;
          reply.state = result.state;
        }
        if (--open > 0) return;
        // Under a storm of writes the last joined state is shown; every replica that answered holds at least that.
        if (isSettled || roundsLeft === 1) this.#agreed(merged);
        else this.#repair(roundsLeft - 1);
      });
    }
  }

  /** Every replica that answered holds `state`: those with an unreadable copy get it, and count once they hold it. */
  #agreed(state: Uint8Array | undefined): void {
    let missing = this.#answered.isReached ? 0 : this.#options.groups[0]!.needed - this.#replies.length;
    if (missing === 0) this.#answer(state);
    if (!this.#mayHeal(this.#replies.length)) return;
    const op = { kind: "heal" as const, row: this.#options.row, state: state ?? encodeState(EMPTY_STATE) };
    let open = this.#corrupt.length;
    for (const nodeId of this.#corrupt) {
      this.#send(nodeId, op, (result) => {
        open--;
        if (result?.kind === "done" && --missing === 0) this.#answer(state);
        if (open === 0 && missing > 0) this.#unavailable();
      });
    }
  }

  #answer(state: Uint8Array | undefined): void {
    const { id } = this.#options.request;
    if (!state) return this.#finish({ id, kind: "notFound", clock: EMPTY_CLOCK });
    let resolved: Resolved;
    try {
      resolved = resolveState(decodeState(state), this.#options.caller.conflictPolicy);
    } catch (error) {
      // A state that cannot be read or merged must not leave the reader without an answer.
      const isUnreadable = error instanceof MalformedBytes || error instanceof MalformedClock;
      const code = isUnreadable ? "dataCorrupt" : "internal";
      return this.#finish({ ...this.#error, code, message: "what is stored under this key cannot be read" });
    }
    if (resolved.kind === "notFound") this.#finish({ id, kind: "notFound", clock: resolved.clock });
    else this.#finish({ id, kind: "value", clock: resolved.clock, value: resolved.value, siblings: resolved.siblings });
  }

  #finish(answer: SessionAnswer): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#options.done(answer);
  }
}

function sameState(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === b) return true;
  return a !== undefined && b !== undefined && sameBytes(a, b);
}
