// The quorum coordinator of a zone: takes client requests, finds the replicas on the ring, runs write and read calls over one link
// per replica. The pure core of the `Coordinator` object; the simulator runs the same class.
// Guarantees: every request is answered exactly once; what is under way is bounded. Must not: store anything.
import type { Caller, DirectoryView } from "../access/types.ts";
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
import { hex } from "./hex.ts";
import { TICKS_PER_MS } from "./hybrid-clock.ts";
import { MAX_REQUEST_BYTES_IN_FLIGHT, MAX_REQUESTS_IN_FLIGHT } from "./limits.ts";
import { type Environment, ReplicaLink } from "./link.ts";
import { ReadCall } from "./read-call.ts";
import { majority, WriteCall } from "./write-call.ts";

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
}

export type AnswerDone = (answer: SessionAnswer) => void;

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
  };
  readonly #environment: Environment;
  readonly #preference: Preference;
  readonly #links = new Map<string, ReplicaLink>();
  #ring = new Ring([]);
  #revision = -1;
  #inFlight = 0;
  #bytesInFlight = 0;

  constructor(environment: Environment, preference: Preference = {}) {
    this.#environment = environment;
    this.#preference = preference;
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
    this.#ring = new Ring(view.nodes, this.#preference);
  }

  /** Every storage node of the ring. */
  nodeIds(): string[] {
    return this.#ring.nodes.map((node) => node.id);
  }

  links(): IterableIterator<ReplicaLink> {
    return this.#links.values();
  }

  link(nodeId: string): ReplicaLink {
    let link = this.#links.get(nodeId);
    if (!link) {
      link = new ReplicaLink(nodeId, this.#environment);
      this.#links.set(nodeId, link);
    }
    return link;
  }

  votePlace(tenant: number, writeId: Uint8Array, replicationFactor: number): { row: RowKey; sets: ReplicaSets } {
    const key = `vote/${hex(writeId)}`;
    const token = tokenOf(tenant, key);
    return { row: { token, tenant, key }, sets: this.#ring.replicas(token, replicationFactor) };
  }

  submit(caller: Caller, request: SessionRequest, done: AnswerDone): void {
    const refusal = this.#refusal(caller, request);
    if (refusal) {
      this.counts.errors++;
      done({ id: request.id, kind: "error", code: refusal.code, message: refusal.message, details: refusal.details });
      return;
    }
    if (request.op === "ping" || request.op === "ack") return done({ id: request.id, kind: "pong" });
    const bytes = request.value?.length ?? 0;
    this.#inFlight++;
    this.#bytesInFlight += bytes;
    const finish: AnswerDone = (answer) => {
      this.#inFlight--;
      this.#bytesInFlight -= bytes;
      if (answer.kind === "error") this.counts.errors++;
      done(answer);
    };
    const row: RowKey = { token: tokenOf(caller.tenant, request.key), tenant: caller.tenant, key: request.key };
    const sets = this.#ring.replicas(row.token, caller.replicationFactor);
    const level = request.consistency ?? caller.defaultConsistency;
    if (request.op === "get") {
      this.counts.gets++;
      new ReadCall(this, {
        caller,
        request,
        row,
        sets,
        needed: acknowledgementsFor(level, sets.read.length),
        done: finish,
      }).start();
      return;
    }
    if (request.op === "put") this.counts.puts++;
    else this.counts.deletes++;
    const wanted = acknowledgementsFor(level, sets.write.length);
    // A user's own idempotency key raises the write to a majority: at `one` a retry could miss the first copy (DESIGN 4).
    const needed = request.bodyHash ? Math.max(wanted, majority(sets.write.length)) : wanted;
    new WriteCall(this, { caller, request, row, sets, needed, done: finish }).start();
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
    if (caller.replicationFactor > this.#ring.nodes.length) {
      return {
        code: "unavailable",
        message: `the ring has ${this.#ring.nodes.length} nodes, the tenant needs ${caller.replicationFactor}`,
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
    if (clock.time > (this.#environment.now() + MAX_TIME_LEAD_MS) * TICKS_PER_MS)
      return "the vector clock's time is in the future";
    for (const { actor, counter } of [...clock.vector, ...clock.dots]) {
      const node = this.#ring.nodes.find((known) => known.number === Math.floor(actor / INCARNATIONS_PER_NODE));
      if (!node) return "the vector clock names a storage node that does not exist";
      const link = this.#links.get(node.id);
      const isCurrent = link !== undefined && link.actor === actor;
      if (counter > (isCurrent ? link.counter + MAX_COUNTER_LEAD : MAX_CLIENT_COUNTER))
        return "the vector clock names writes that have not happened";
    }
    return undefined;
  }
}
