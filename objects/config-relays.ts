// Calls to configuration keyspaces that come over sessions: judged here, gathered for each keyspace, answered to their sessions.
// Guarantees: a malformed or forbidden call is answered alone and spoils no frame; idle keyspaces cost nothing; leases that a session owns
// are revoked when its client closes it.
import type { Caller } from "../src/access/types.ts";
import { MAX_OWNED_LEASES } from "../src/config/limits.ts";
import { type LeaseOwner, type OwnedLease, OwnedLeases } from "../src/config/owned-leases.ts";
import { ConfigRelay, type Pending, type RelayOptions } from "../src/config/relay.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../src/wire/bytes.ts";
import type { ConfigRequest } from "../src/wire/config.ts";
import { readConfigAnswer } from "../src/wire/config-answers.ts";
import { isWriting, readConfigCallBody, writeConfigCallBody } from "../src/wire/config-requests.ts";
import type { ErrorCode } from "../src/wire/error-codes.ts";
import type { CopyAge, SessionAnswer, SessionRequest } from "../src/wire/session.ts";
import { evenIfBegunAnew } from "./began-anew.ts";
import type { Env } from "./env.ts";
import { copyName, keyspaceName, noteNamespace, readableKeyspace } from "./known-namespaces.ts";
import { withDeadline } from "./with-deadline.ts";

/** Longest one frame may take. Ms. */
const FRAME_DEADLINE_MS = 10_000;
/** As of tenants' ids. */
const NAMESPACE = /^[a-z0-9][a-z0-9._-]{0,62}$/;
/** Relays that are held; idle ones are dropped beyond it. */
const MAX_RELAYS = 1000;

export interface ConfigRelaysOptions {
  readonly env: Env;
  /** Whose copies answer. */
  readonly zone: string;
  readonly schedule: (run: () => void) => void;
  readonly onFailure: (error: unknown) => void;
}

export class ConfigRelays {
  readonly #options: ConfigRelaysOptions;
  readonly #relays = new Map<string, ConfigRelay>();
  readonly #owned = new OwnedLeases();

  constructor(options: ConfigRelaysOptions) {
    this.#options = options;
  }

  submit(
    caller: Caller,
    { id, key: namespace, value: body, isOwned, copied }: SessionRequest,
    done: (answer: SessionAnswer) => void,
    owner: LeaseOwner | undefined,
  ): void {
    const refuse = (code: ErrorCode, message: string): void => done({ id, kind: "error", code, message });
    if (!NAMESPACE.test(namespace)) return refuse("invalidRequest", `namespace must match ${NAMESPACE.source}`);
    let request: ConfigRequest;
    try {
      request = readConfigCallBody(body ?? new Uint8Array(0)).request;
    } catch (error) {
      if (error instanceof MalformedBytes) return refuse("invalidRequest", `malformed call: ${error.message}`);
      throw error;
    }
    const isWrite = isWriting(request);
    if (isWrite && !caller.canWrite) return refuse("forbidden", "the API key is read-only; this needs read-write");
    // By nothing else, or who may only read could end a lease.
    const owns = isOwned && (request.kind === "leaseGrant" || request.kind === "leaseKeepAlive") ? owner : undefined;
    if (owns && !this.#owned.hasRoom(owns, Date.now()))
      return refuse("tooManyLeases", `the session owns ${MAX_OWNED_LEASES} leases, which is the limit`);
    const of = { tenant: caller.tenant, namespace };
    const keyspace = keyspaceName(of);
    const call: Pending = {
      body: body!,
      isWrite,
      done: (result) => {
        if (!("answer" in result)) return refuse(result.code, result.message);
        if (owns) this.#own(owns, keyspace, result.answer);
        else if (request.kind === "leaseRevoke") this.#owned.disown(keyspace, request.lease);
        done({ id, kind: "config", body: result.answer });
      },
    };
    // From the first write on, so that what comes behind it is not answered before it.
    if (isWrite) noteNamespace(keyspace);
    const name = isWrite ? keyspace : readableKeyspace(this.#options.env, of);
    // Of a namespace that was never written to nobody keeps a copy.
    const submit = (asked: string): void =>
      (copied && asked === keyspace ? this.#copyRelay(keyspace, copied) : this.#relay(asked)).submit(call);
    if (typeof name === "string") submit(name);
    else void name.then(submit);
  }

  /** `isClosed`: by its client, in order. */
  sessionEnded(owner: LeaseOwner, isClosed: boolean): void {
    for (const owned of this.#owned.ended(owner, isClosed)) this.#revoke(owned);
  }

  #own(owner: LeaseOwner, keyspace: string, body: Uint8Array): void {
    const answer = readConfigAnswer(new ByteReader(body));
    if (answer.kind !== "lease" || answer.ttlSeconds < 0) return;
    const ttlMs = answer.grantedTtlSeconds * 1000;
    const toEnd = this.#owned.own(owner, { keyspace, lease: answer.lease, ttlMs, nowMs: Date.now() });
    if (toEnd) this.#revoke(toEnd);
  }

  /** One that fails leaves the lease its time. */
  #revoke({ keyspace, lease }: OwnedLease): void {
    const writer = new ByteWriter(64);
    writeConfigCallBody(writer, { request: { kind: "leaseRevoke", lease } });
    this.#relay(keyspace).submit({ body: writer.take(), isWrite: true, done: () => undefined });
  }

  #relay(keyspace: string): ConfigRelay {
    const objects = this.#options.env.CONFIG_KEYSPACE;
    return this.#held(keyspace, () => {
      const stub = objects.get(objects.idFromName(keyspace));
      return (frame) => withDeadline(stub.call(frame), FRAME_DEADLINE_MS, "ConfigKeyspace");
    });
  }

  /** To the zone's copy, for reads that may be of one age. */
  #copyRelay(keyspace: string, age: CopyAge): ConfigRelay {
    const { env, zone } = this.#options;
    const objects = env.CONFIG_FOLLOWER;
    return this.#held(`${keyspace} ${age.maxStalenessMs}`, () => {
      const stub = objects.get(objects.idFromName(copyName(zone, keyspace)));
      return (frame) => withDeadline(stub.read(frame, age), FRAME_DEADLINE_MS, "ConfigFollower");
    });
  }

  /** `connect`: a stub whose object was reset stays broken, and the next frame gets a new one. */
  #held(key: string, connect: () => RelayOptions["send"]): ConfigRelay {
    const held = this.#relays.get(key);
    if (held) return held;
    if (this.#relays.size >= MAX_RELAYS) {
      for (const [other, relay] of this.#relays) if (relay.isIdle) this.#relays.delete(other);
    }
    const { schedule, onFailure } = this.#options;
    let sendTo = connect();
    const sendOnce = (frame: Uint8Array): Promise<Uint8Array> =>
      sendTo(frame).catch((error: unknown) => {
        sendTo = connect();
        throw error;
      });
    const send = (frame: Uint8Array): Promise<Uint8Array> =>
      evenIfBegunAnew(() => sendOnce(frame)).catch((error: unknown) => {
        onFailure(error);
        throw error;
      });
    const relay = new ConfigRelay({ send, schedule });
    this.#relays.set(key, relay);
    return relay;
  }
}
