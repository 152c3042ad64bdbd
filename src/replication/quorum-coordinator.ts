// The quorum coordinator of a zone: takes client requests, finds the replicas on the ring, runs write and read calls over one link
// per replica. The pure core of the `Coordinator` object; the simulator runs the same class.
// Guarantees: every request is answered exactly once; what is under way is bounded. Must not: store anything.
import type { Caller, DirectoryView, TenantRoute } from "../access/types.ts";
import { type Preference, type ReplicaSets, Ring } from "../cluster/ring.ts";
import { tokenOf } from "../cluster/token.ts";
import {
  MAX_CLIENT_COUNTER,
  MAX_COUNTER_LEAD,
  MAX_KEY_BYTES,
  MAX_TIME_LEAD_MS,
  MAX_VALUE_BYTES,
} from "../kv/limits.ts";
import type { RowKey } from "../storage/types.ts";
import { type Clock, INCARNATIONS_PER_NODE } from "../wire/clock.ts";
import type { ErrorCode } from "../wire/error-codes.ts";
import type { Consistency, SessionAnswer, SessionRequest } from "../wire/session.ts";
import { fenceOf, revisionsOf } from "./fence.ts";
import { hex } from "./hex.ts";
import { TICKS_PER_MS } from "./hybrid-clock.ts";
import { MAX_REQUEST_BYTES_IN_FLIGHT, MAX_REQUESTS_IN_FLIGHT, MAX_REROUTES } from "./limits.ts";
import { type Environment, ReplicaLink } from "./link.ts";
import { ReadCall } from "./read-call.ts";
import { Routes } from "./routes.ts";
import { type Group, groupOf, majority } from "./tally.ts";
import { type VotePlace, WriteCall } from "./write-call.ts";

export interface CoordinatorCounts {
  puts: number;
  gets: number;
  deletes: number;
  errors: number;
  readRepairs: number;
  corruptReads: number;
  hintsRequested: number;
  hintsLost: number;
  unknownOutcomes: number;
  staleRoutes: number;
}

export type AnswerDone = (answer: SessionAnswer) => void;

interface Run {
  readonly caller: Caller;
  readonly request: SessionRequest;
  readonly row: RowKey;
  readonly done: AnswerDone;
  readonly startedAtMs: number;
}

/** Of whom answers are needed. `one` asks one of the old replicas; every other level is asked of old and new ones alike. */
function groupsFor(
  level: Consistency,
  of: {
    readonly first: readonly string[];
    readonly joint: readonly string[] | undefined;
    readonly atLeastMajority: boolean;
  },
): readonly Group[] {
  const group = (members: readonly string[]): readonly Group[] => {
    const wanted = acknowledgementsFor(level, members.length);
    return groupOf(members, of.atLeastMajority ? Math.max(wanted, majority(members.length)) : wanted);
  };
  const isWeak = level === "one" && !of.atLeastMajority;
  return of.joint && !isWeak ? [...group(of.first), ...group(of.joint)] : group(of.first);
}

function acknowledgementsFor(level: Consistency, replicaCount: number): number {
  if (level === "one") return 1;
  return level === "all" ? replicaCount : majority(replicaCount);
}

const encoder = new TextEncoder();

export class QuorumCoordinator {
  readonly counts: CoordinatorCounts = {
    puts: 0,
    gets: 0,
    deletes: 0,
    errors: 0,
    readRepairs: 0,
    corruptReads: 0,
    hintsRequested: 0,
    hintsLost: 0,
    unknownOutcomes: 0,
    staleRoutes: 0,
  };
  readonly environment: Environment;
  readonly #preference: Preference;
  readonly #links = new Map<string, ReplicaLink>();
  readonly #routes: Routes;
  #ring = new Ring([]);
  #revision = -1;
  #inFlight = 0;
  #bytesInFlight = 0;

  constructor(environment: Environment, preference: Preference = {}) {
    this.environment = environment;
    this.#preference = preference;
    this.#routes = new Routes(environment);
  }

  get revision(): number {
    return this.#revision;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Replaces the route when `view` is newer. */
  useView(view: DirectoryView): void {
    if (view.revision <= this.#revision) return;
    this.#revision = view.revision;
    this.#ring = new Ring(view.nodes, this.#preference, view.ring);
  }

  get ring(): Ring {
    return this.#ring;
  }

  links(): IterableIterator<ReplicaLink> {
    return this.#links.values();
  }

  link(nodeId: string): ReplicaLink {
    let link = this.#links.get(nodeId);
    if (!link) {
      link = new ReplicaLink(nodeId, this.environment);
      this.#links.set(nodeId, link);
    }
    return link;
  }

  votePlace({ tenant, writeId, route, ring }: VotePlace): { row: RowKey; sets: ReplicaSets } {
    const key = `vote/${hex(writeId)}`;
    const token = tokenOf(tenant, key);
    return { row: { token, tenant, key }, sets: ring.route(token, route) };
  }

  submit(caller: Caller, request: SessionRequest, done: AnswerDone): void {
    const refusal = this.#refusal(caller, request);
    if (refusal) {
      this.counts.errors++;
      done({ id: request.id, kind: "error", code: refusal.code, message: refusal.message, details: refusal.details });
      return;
    }
    if (request.op === "ping" || request.op === "ack") return done({ id: request.id, kind: "pong" });
    if (request.op === "config") throw new Error("a call to a keyspace does not come here");
    const bytes = request.value?.length ?? 0;
    this.#inFlight++;
    this.#bytesInFlight += bytes;
    const finish: AnswerDone = (answer) => {
      this.#inFlight--;
      this.#bytesInFlight -= bytes;
      if (answer.kind === "error") this.counts.errors++;
      done(answer);
    };
    if (request.op === "get") this.counts.gets++;
    else if (request.op === "put") this.counts.puts++;
    else this.counts.deletes++;
    const row: RowKey = { token: tokenOf(caller.tenant, request.key), tenant: caller.tenant, key: request.key };
    const run = { caller, request, row, done: finish, startedAtMs: this.environment.now() };
    this.#start(run, this.#routes.of(caller.tenant, caller), MAX_REROUTES);
  }

  #start(run: Run, route: TenantRoute, reroutesLeft: number): void {
    const { caller, request, row, done, startedAtMs } = run;
    const ring = this.#ring;
    const sets = ring.route(row.token, route);
    const fence = fenceOf({ ring: ring.state.revision, route: route.routeRevision ?? 0 });
    const level = request.consistency ?? caller.defaultConsistency;
    const again = (revision: number, isInDoubt: boolean): void => {
      this.counts.staleRoutes++;
      this.#relearn(run, revision, (newer) => {
        // After so long its client may have tried it elsewhere, and written on from there (spec RP-103).
        const isLate = this.environment.now() - run.startedAtMs > this.environment.replicaTimeoutMs / 2;
        const retry = { ...request, isRetry: true };
        if (newer && reroutesLeft > 0)
          this.#start(isInDoubt || isLate ? { ...run, request: retry } : run, newer, reroutesLeft - 1);
        else done(this.#unrouted(isInDoubt ? retry : request));
      });
    };
    if (request.op === "get") {
      const groups = groupsFor(level, { first: sets.read, joint: sets.joint, atLeastMajority: false });
      const stale = (revision: number): void => again(revision, false);
      new ReadCall(this, { caller, request, row, sets, groups, fence, done, stale }).start();
      return;
    }
    // A user's own idempotency key raises the write to a majority: at `one` a retry could miss the first copy (DESIGN 4).
    const atLeastMajority = request.bodyHash !== undefined;
    const groups = groupsFor(level, { first: sets.write, joint: sets.joint, atLeastMajority });
    const of = { caller, request, row, sets, groups, route, ring, fence, startedAtMs };
    new WriteCall(this, { ...of, done, stale: again }).start();
  }

  /** Calls `then` with a route to go by once ring and route are as new as a replica said, or with undefined. */
  #relearn({ caller }: Run, fence: number, then: (route: TenantRoute | undefined) => void): void {
    const asked = revisionsOf(fence);
    const route = this.#routes.of(caller.tenant, caller);
    const withRing = (newer: TenantRoute | undefined): void => {
      if (!newer || this.#ring.state.revision >= asked.ring) return then(newer);
      this.#routes.reloadView(
        (view) => {
          this.useView(view);
          return this.#ring.state.revision >= asked.ring;
        },
        (isThere) => then(isThere ? newer : undefined),
      );
    };
    if ((route.routeRevision ?? 0) >= asked.route) withRing(route);
    else this.#routes.reload(caller.tenant, asked.route, withRing);
  }

  /** The replicas know a newer route than its owner would tell in time. */
  #unrouted(request: SessionRequest): SessionAnswer {
    const message = "the replicas of this key are being changed and the new ones could not be learned in time";
    if (request.op === "get" || !request.isRetry)
      return { id: request.id, kind: "error", code: "quorumUnavailable", message: `${message}; nothing was written` };
    this.counts.unknownOutcomes++;
    const details = { writeId: hex(request.writeId!), mayHaveBeenApplied: true };
    return { id: request.id, kind: "error", code: "unknownOutcome", message, details };
  }

  /** Checks what every transport must have checked; the last line of defence, cheap. */
  #refusal(
    caller: Caller,
    request: SessionRequest,
  ): { code: ErrorCode; message: string; details?: Record<string, unknown> } | undefined {
    if (request.op === "ping" || request.op === "ack") return undefined;
    if (this.#inFlight >= MAX_REQUESTS_IN_FLIGHT)
      return { code: "overloaded", message: `${this.#inFlight} requests are under way, the limit is reached` };
    if (this.#bytesInFlight >= MAX_REQUEST_BYTES_IN_FLIGHT)
      return {
        code: "overloaded",
        message: `requests of ${this.#bytesInFlight} bytes are under way, the limit is reached`,
      };
    for (const link of this.#links.values()) {
      if (link.isFull) return { code: "overloaded", message: `too many bytes wait for storage node ${link.nodeId}` };
    }
    const { replicationFactor } = this.#routes.of(caller.tenant, caller);
    if (replicationFactor > this.#ring.nodes.length) {
      return {
        code: "unavailable",
        message: `the ring has ${this.#ring.nodes.length} nodes, the tenant needs ${replicationFactor}`,
      };
    }
    const { key, value } = request;
    const keyBytes = key.length > MAX_KEY_BYTES / 3 ? encoder.encode(key).length : key.length;
    if (key.length === 0 || keyBytes > MAX_KEY_BYTES) {
      return {
        code: "invalidRequest",
        message: `key has ${keyBytes} bytes; it must have 1 to ${MAX_KEY_BYTES}`,
        details: { field: "key", limit: MAX_KEY_BYTES },
      };
    }
    if (value && value.length > MAX_VALUE_BYTES) {
      return {
        code: "payloadTooLarge",
        message: `value has ${value.length} bytes, the limit is ${MAX_VALUE_BYTES}`,
        details: { field: "value", limit: MAX_VALUE_BYTES },
      };
    }
    if (request.op !== "get" && !caller.canWrite) {
      return { code: "forbidden", message: "this key may only read", details: { requiredScope: "read-write" } };
    }
    if (request.op === "put" && caller.excess) {
      const { quota, used, limit } = caller.excess;
      return {
        code: "quotaExceeded",
        message: `${quota} is ${used}, the limit is ${limit}`,
        details: { quota, used, limit },
      };
    }
    const clockProblem = request.clock && this.#clockProblem(request.clock);
    return clockProblem ? { code: "malformedClock", message: clockProblem } : undefined;
  }

  /** A clock that names dots nobody can have stamped would hide future writes of the key; only a forged one does (spec RP-15). */
  #clockProblem(clock: Clock): string | undefined {
    if (clock.time > (this.environment.now() + MAX_TIME_LEAD_MS) * TICKS_PER_MS)
      return "the vector clock's time is in the future";
    for (const { actor, counter } of [...clock.vector, ...clock.dots]) {
      const node = this.#ring.known.find((known) => known.number === Math.floor(actor / INCARNATIONS_PER_NODE));
      if (!node) return "the vector clock names a storage node that does not exist";
      const link = this.#links.get(node.id);
      const isCurrent = link !== undefined && link.actor === actor;
      if (counter > (isCurrent ? link.counter + MAX_COUNTER_LEAD : MAX_CLIENT_COUNTER))
        return "the vector clock names writes that have not happened";
    }
    return undefined;
  }
}
