// Membership by gossip (SWIM): who is there, found out by probing one member at a time and told on with every message.
// Guarantees: an instance that was paused, or that nobody reaches, accuses nobody because of it; a member that is accused may object for
// several periods before it counts as failed; who keeps failing and returning is trusted later each time.
// Must not: send, read clocks or know what members hold.

import { MemberTable } from "./member-table.ts";
import type { GossipEvent, GossipKind, GossipLimits, GossipMessage, Member, Send } from "./types.ts";
import { UpdateQueue } from "./update-queue.ts";

interface Probe {
  readonly target: string;
  readonly sequence: number;
  readonly directEndsMs: number;
  isHelped: boolean;
}

/** A ping made for another member, whose answer is handed on. */
interface Errand {
  readonly address: string;
  readonly sequence: number;
  readonly endsMs: number;
}

export interface GossipOptions {
  readonly self: { readonly id: string; readonly address: string; readonly zone: string };
  readonly limits: GossipLimits;
  readonly random: () => number;
  readonly nowMs: number;
  /** To begin with: above every one that this member had in an earlier life, where these are known. */
  readonly incarnation?: number | undefined;
}

/** A member as this instance sees it. */
export interface SeenMember extends Member {
  /** When its state became known here. */
  readonly sinceMs: number;
  /** There, and past any probation. */
  readonly isTrusted: boolean;
}

export class Gossip {
  readonly #options: GossipOptions;
  readonly #table = new MemberTable();
  readonly #updates: UpdateQueue;
  #self: Member;
  #order: string[] = [];
  #probe: Probe | undefined;
  #sequence = 0;
  readonly #errands = new Map<number, Errand>();
  readonly #suspectUntilMs = new Map<string, number>();
  /** Times at which a member was found failed. */
  readonly #failures = new Map<string, number[]>();
  /** Members that are back, but not trusted before then. */
  readonly #probation = new Map<string, number>();
  readonly #absentSinceMs = new Map<string, number>();
  /** When each member's state became known. */
  readonly #sinceMs = new Map<string, number>();
  #seeds: readonly string[] = [];
  #events: GossipEvent[] = [];
  #lastTickMs: number;
  #nextPeriodMs: number;
  #nextSyncMs: number;
  /** When any other member was last heard of by its own message. */
  lastHeardMs: number;

  constructor(options: GossipOptions) {
    this.#options = options;
    this.#self = { ...options.self, incarnation: options.incarnation ?? 1, state: "alive" };
    this.#updates = new UpdateQueue(options.limits.updatesPerMessage);
    this.#table.merge(this.#self);
    this.#sinceMs.set(this.#self.id, options.nowMs);
    this.#lastTickMs = this.#nextPeriodMs = this.#nextSyncMs = this.lastHeardMs = options.nowMs;
  }

  get members(): readonly Member[] {
    return this.#table.all();
  }

  /** Members in good standing: there, and past any probation. */
  get trusted(): readonly Member[] {
    return this.members.filter((member) => this.#isTrusted(member));
  }

  get seen(): readonly SeenMember[] {
    return this.members.map((member) => {
      return { ...member, sinceMs: this.#sinceMs.get(member.id)!, isTrusted: this.#isTrusted(member) };
    });
  }

  /** Of this instance: to be kept, so that its next life begins above it. */
  get incarnation(): number {
    return this.#self.incarnation;
  }

  /**
   * Members that this instance has part in the cluster with: itself, and those that are there while anybody is heard. Alone = nobody's
   * messages have come for some periods, whatever they may think of this one.
   */
  together(nowMs: number): readonly string[] {
    const others = this.#table.present(this.#self.id).map(({ id }) => id);
    return nowMs - this.lastHeardMs > this.#options.limits.silenceMs ? [this.#self.id] : [this.#self.id, ...others];
  }

  #isTrusted({ id, state }: Member): boolean {
    return state === "alive" && !this.#probation.has(id);
  }

  takeEvents(): readonly GossipEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** Addresses that may answer; asked until somebody is known. */
  join(addresses: readonly string[]): Send[] {
    this.#seeds = addresses.filter((address) => address !== this.#self.address);
    return this.#seeds.map((to) => this.#sync(to, "sync"));
  }

  /** Says good-bye. Nothing is sent afterwards. */
  leave(): Send[] {
    this.#setSelf({ ...this.#self, state: "left" });
    return this.#table.present(this.#self.id).map(({ address }) => this.#message(address, "ping"));
  }

  /** To be called several times a period. */
  tick(nowMs: number): Send[] {
    if (this.#self.state === "left") return [];
    this.#notePause(nowMs);
    this.#judgeSuspects(nowMs);
    this.#endProbations(nowMs);
    const sends: Send[] = [...this.#askForHelp(nowMs)];
    if (nowMs >= this.#nextPeriodMs) {
      this.#nextPeriodMs = nowMs + this.#options.limits.periodMs;
      sends.push(...this.#nextProbe(nowMs));
    }
    if (nowMs >= this.#nextSyncMs) {
      this.#nextSyncMs = nowMs + this.#options.limits.syncMs * (0.75 + this.#options.random() / 2);
      sends.push(...this.#compareTables());
    }
    return sends;
  }

  receive(message: GossipMessage, nowMs: number): Send[] {
    if (this.#self.state === "left") return [];
    this.lastHeardMs = nowMs;
    for (const update of message.updates) this.#learn(update, nowMs);
    const { kind, address, sequence } = message;
    if (kind === "ping") return [this.#message(address, "ack", sequence)];
    if (kind === "sync") return [this.#sync(address, "synced")];
    if (kind === "request") return this.#runErrand(message, nowMs);
    if (kind === "ack") return this.#acknowledged(sequence);
    return [];
  }

  /** Who was paused or is cut off hears no answers: its probe says nothing, and those it suspects keep their time to object. */
  #notePause(nowMs: number): void {
    const pausedMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    const isPaused = pausedMs >= 2 * this.#options.limits.periodMs;
    if (!isPaused && !this.#isCutOff(nowMs)) return;
    this.#probe = undefined;
    for (const [id, untilMs] of this.#suspectUntilMs) this.#suspectUntilMs.set(id, untilMs + pausedMs);
  }

  /** Told by its own probes that nobody answers, an instance is the likelier one to be cut off. */
  #isCutOff(nowMs: number): boolean {
    return (
      nowMs - this.lastHeardMs > 2 * this.#options.limits.periodMs && this.#table.present(this.#self.id).length > 1
    );
  }

  #judgeSuspects(nowMs: number): void {
    for (const [id, untilMs] of this.#suspectUntilMs) {
      if (nowMs < untilMs) continue;
      this.#suspectUntilMs.delete(id);
      const member = this.#table.get(id)!;
      if (member.state === "suspect") this.#learn({ ...member, state: "failed" }, nowMs);
    }
    for (const [id, sinceMs] of this.#absentSinceMs) {
      if (nowMs - sinceMs < this.#options.limits.forgetMs || this.#table.get(id)?.state === "suspect") continue;
      this.#absentSinceMs.delete(id);
      this.#failures.delete(id);
      this.#probation.delete(id);
      this.#sinceMs.delete(id);
      this.#table.forget(id);
    }
  }

  #endProbations(nowMs: number): void {
    for (const [id, untilMs] of this.#probation) {
      if (nowMs < untilMs) continue;
      this.#probation.delete(id);
      const member = this.#table.get(id)!;
      if (member.state === "alive") this.#events.push({ kind: "alive", member });
    }
  }

  #askForHelp(nowMs: number): Send[] {
    const probe = this.#probe;
    if (!probe || probe.isHelped || nowMs < probe.directEndsMs) return [];
    probe.isHelped = true;
    const others = this.#table.present(this.#self.id).filter(({ id }) => id !== probe.target);
    return this.#some(others, this.#options.limits.helpers).map(({ address }) =>
      this.#message(address, "request", probe.sequence, probe.target),
    );
  }

  #nextProbe(nowMs: number): Send[] {
    const missed = this.#probe;
    this.#probe = undefined;
    if (missed) this.#suspect(missed.target, nowMs);
    const present = this.#table.present(this.#self.id);
    if (present.length === 0) return this.#seeds.map((to) => this.#sync(to, "sync"));
    const target = this.#nextInOrder(present);
    const { directMs } = this.#options.limits;
    this.#probe = { target: target.id, sequence: ++this.#sequence, directEndsMs: nowMs + directMs, isHelped: false };
    // The one that is suspected must hear of it, to object.
    return [
      this.#message(target.address, "ping", this.#sequence, undefined, target.state === "suspect" ? [target] : []),
    ];
  }

  /** Each member once a round, in an order that changes with every round. */
  #nextInOrder(present: readonly Member[]): Member {
    const byId = new Map(present.map((member) => [member.id, member]));
    for (;;) {
      if (this.#order.length === 0) this.#order = this.#some([...byId.keys()], byId.size);
      const member = byId.get(this.#order.pop()!);
      if (member) return member;
    }
  }

  #compareTables(): Send[] {
    // Also those that failed: the two halves of a cluster that was cut in two find each other again.
    const others = this.members.filter(({ id, state }) => id !== this.#self.id && state !== "left");
    return this.#some(others, 1).map(({ address }) => this.#sync(address, "sync"));
  }

  #suspect(id: string, nowMs: number): void {
    const member = this.#table.get(id);
    if (member?.state === "alive") this.#learn({ ...member, state: "suspect" }, nowMs);
  }

  #learn(update: Member, nowMs: number): void {
    if (update.id === this.#self.id) return this.#object(update);
    const before = this.#table.get(update.id);
    if (!this.#table.merge(update)) return;
    this.#updates.add(update, this.members.length);
    if (before?.state === update.state) return;
    this.#note(update, before !== undefined, nowMs);
  }

  #note(member: Member, isKnown: boolean, nowMs: number): void {
    const { id, state } = member;
    this.#sinceMs.set(id, nowMs);
    this.#suspectUntilMs.delete(id);
    if (state === "suspect") this.#suspectUntilMs.set(id, nowMs + this.#suspicionMs());
    if (state === "failed") this.#failures.set(id, [...(this.#failures.get(id) ?? []), nowMs]);
    if (state === "failed" || state === "left") this.#absentSinceMs.set(id, nowMs);
    if (state !== "alive" || !isKnown) this.#events.push({ kind: state, member });
    else if (this.#absentSinceMs.delete(id)) this.#return(id, nowMs);
    else if (!this.#probation.has(id)) this.#events.push({ kind: "alive", member });
  }

  /** Back from failure: trusted after a time that doubles with each failure not long ago. */
  #return(id: string, nowMs: number): void {
    const { flapWindowMs, probationMs, maxProbationMs } = this.#options.limits;
    const recent = (this.#failures.get(id) ?? []).filter((atMs) => nowMs - atMs < flapWindowMs);
    this.#failures.set(id, recent);
    const waitMs = Math.min(maxProbationMs, probationMs * 2 ** Math.max(0, recent.length - 1));
    this.#probation.set(id, nowMs + waitMs);
  }

  /** Something is said of this instance that is not so: a higher incarnation says otherwise. */
  #object(update: Member): void {
    const isWrong = update.state !== this.#self.state || update.address !== this.#self.address;
    if (update.incarnation < this.#self.incarnation || !isWrong) return;
    this.#setSelf({ ...this.#self, incarnation: update.incarnation + 1 });
  }

  #setSelf(self: Member): void {
    this.#self = self;
    this.#table.merge(self);
    this.#updates.add(self, this.members.length);
  }

  #runErrand({ target, address, sequence }: GossipMessage, nowMs: number): Send[] {
    for (const [id, { endsMs }] of this.#errands) if (endsMs < nowMs) this.#errands.delete(id);
    const member = target === undefined ? undefined : this.#table.get(target);
    if (!member) return [];
    this.#errands.set(++this.#sequence, { address, sequence, endsMs: nowMs + this.#options.limits.periodMs });
    return [this.#message(member.address, "ping", this.#sequence)];
  }

  #acknowledged(sequence: number): Send[] {
    if (this.#probe?.sequence === sequence) this.#probe = undefined;
    const errand = this.#errands.get(sequence);
    this.#errands.delete(sequence);
    return errand ? [this.#message(errand.address, "ack", errand.sequence)] : [];
  }

  /** The more members, the longer news takes to reach one and its objection to come back. */
  #suspicionMs(): number {
    const periods = Math.max(4, 2 * Math.ceil(Math.log2(this.members.length + 1)));
    return periods * this.#options.limits.periodMs;
  }

  #some<T>(items: readonly T[], count: number): T[] {
    const left = [...items];
    const chosen: T[] = [];
    while (left.length > 0 && chosen.length < count)
      chosen.push(left.splice(Math.floor(this.#options.random() * left.length), 1)[0]!);
    return chosen;
  }

  #sync(to: string, kind: "sync" | "synced"): Send {
    const { id, address } = this.#self;
    return { to, message: { kind, from: id, address, sequence: 0, updates: this.members } };
  }

  #message(to: string, kind: GossipKind, sequence = 0, target?: string, first: readonly Member[] = []): Send {
    const updates = [...first, ...this.#updates.take()];
    return { to, message: { kind, from: this.#self.id, address: this.#self.address, sequence, target, updates } };
  }
}
