// `client.config` over the session: keys, ranges, transactions and leases as binary calls that travel together.
// Guarantees: the results and errors of the calls over HTTP; a write is applied once over all of its retries. Must not: carry what a session
// does not (export, webhooks, waiting for locks): that goes over HTTP.
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import type { ConfigAnswer, ConfigRequest, KeyValue, RangeAnswer, TxnOperation } from "../wire/config.ts";
import { readConfigAnswer } from "../wire/config-answers.ts";
import { isWriting, writeConfigCallBody, writeConfigRequest } from "../wire/config-requests.ts";
import { BODY_HASH_BYTES } from "../wire/session.ts";
import { checkedKey } from "./config-codec.ts";
import { requireKnown } from "./config-known.ts";
import type { ConfigTxnResult, TxnParts } from "./config-txn.ts";
import { resultsOf, txnRequestOf } from "./config-txn-wire.ts";
import type {
  ConfigConditions,
  ConfigDeleteOptions,
  ConfigDeleteResult,
  ConfigEntry,
  ConfigGetResult,
  ConfigKey,
  ConfigPage,
  ConfigPutOptions,
  ConfigPutResult,
  ConfigRange,
  ConfigRangeOptions,
  ConfigReadOptions,
  ConfigWriteOptions,
  LeaseDetails,
  LeaseInfo,
} from "./config-types.ts";
import {
  binaryOf,
  comparesOf,
  entryOfKv,
  invalid,
  metaOfKv,
  paged,
  pageOf,
  rangeOf,
  rangeRequestOf,
  rawEntry,
  shownKey,
  valueBytes,
  whole,
} from "./config-wire.ts";
import { JadeError } from "./errors.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Session } from "./session.ts";
import { SessionCall } from "./session-call.ts";
import type { CallOptions } from "./types.ts";
import { fromHex, WriteIdSource } from "./write-id.ts";

const DEFAULT_NAMESPACE = "default";

type Answered<R extends ConfigRequest> = Extract<
  ConfigAnswer,
  { kind: R["kind"] extends `lease${string}` ? (R["kind"] extends "leases" ? "leases" : "lease") : R["kind"] }
>;

interface SendOptions extends ConfigWriteOptions {
  readonly isOwned?: boolean | undefined;
}

/** Which keyspace, and the way to it. */
export interface ConfigPlace {
  readonly namespace?: string | undefined;
  readonly session?: ConfigSession | undefined;
}

export class ConfigSession {
  readonly #options: ResolvedOptions;
  readonly #session: Session;
  readonly #namespace: string;
  readonly #writeIds: WriteIdSource;

  constructor(options: ResolvedOptions, session: Session, namespace = DEFAULT_NAMESPACE) {
    this.#options = options;
    this.#session = session;
    this.#namespace = namespace;
    this.#writeIds = new WriteIdSource(options.runtime);
  }

  namespace(name: string): ConfigSession {
    return new ConfigSession(this.#options, this.#session, name);
  }

  async put(key: ConfigKey, value: unknown, options: ConfigPutOptions): Promise<ConfigPutResult> {
    requireKnown(options, "put");
    const { as = "json", leaseId, sequential, prevKv, ignoreLease, ...more } = options;
    const binary = binaryOf(checkedKey(key));
    const compare = comparesOf(binary, more);
    if (sequential && compare.length > 0) throw invalid("sequential", "makes a new key: no condition can be set on it");
    const put = { kind: "put", key: binary, value: valueBytes(value), lease: leaseId, sequential, prevKv, ignoreLease };
    const { answer, revision } = await this.#writeIf({ ...put, kind: "put" }, compare, more);
    const { prevKv: previous, ...meta } = answer;
    const shown = { revision, ...metaOfKv({ ...meta, modRevision: revision }) };
    return previous ? { ...shown, prevKv: entryOfKv(previous, as) } : shown;
  }

  async get<T>(key: ConfigKey, options: ConfigReadOptions): Promise<ConfigGetResult<T>> {
    requireKnown(options, "get");
    const { as = "json", keysOnly, revision } = options;
    const request = { kind: "range", key: binaryOf(checkedKey(key)), rangeEnd: "", keysOnly } as const;
    const answer = await this.#send({ ...request, revision: whole("revision", revision) }, options);
    const read = revision || answer.header.revision;
    const [kv] = answer.kvs;
    if (!kv) return { found: false, revision: read, key, value: undefined };
    return { found: true, revision: read, ...(entryOfKv(kv, as, keysOnly) as ConfigEntry<T>) };
  }

  async delete(key: ConfigKey, options: ConfigDeleteOptions): Promise<ConfigDeleteResult> {
    requireKnown(options, "delete");
    const { as = "json", prevKv, ...more } = options;
    const binary = binaryOf(checkedKey(key));
    const request = { kind: "deleteRange", key: binary, rangeEnd: "", prevKv } as const;
    const { answer, revision } = await this.#writeIf(request, comparesOf(binary, more), more);
    const [previous] = answer.prevKvs;
    return { deleted: answer.deleted, revision, ...(previous ? { prevKv: entryOfKv(previous, as) } : {}) };
  }

  async rangePage<T>(range: ConfigRangeOptions): Promise<ConfigPage<T>> {
    requireKnown(range, "range");
    const request = paged(rangeRequestOf(range), range.cursor);
    const answer = await this.#send(request, range);
    const revision = request.revision || answer.header.revision;
    return pageOf(answer, request, { revision, form: range.as ?? "json" }) as ConfigPage<T>;
  }

  async deleteRange(range: ConfigRange, options: ConfigWriteOptions): Promise<ConfigDeleteResult> {
    const given = rangeOf(range);
    if (!given) throw invalid("prefix", "is required, or start or end; prefix= means all keys");
    const { deleted, header } = await this.#send({ kind: "deleteRange", ...given }, options);
    return { deleted, revision: header.revision };
  }

  async runTxn(parts: TxnParts, options: ConfigWriteOptions): Promise<ConfigTxnResult> {
    const request = txnRequestOf(parts);
    const { succeeded, responses, header } = await this.#send(request, options);
    const branch = succeeded ? request.success : request.failure;
    return { succeeded, revision: header.revision, responses: resultsOf(branch, responses, header.revision) };
  }

  async grant(ttlSeconds: number, { leaseId = "", ...options }: SendOptions & { leaseId?: string | undefined }) {
    whole("ttlSeconds", ttlSeconds);
    return this.#lease(await this.#send({ kind: "leaseGrant", lease: leaseId, ttlSeconds }, options));
  }

  async keepAlive(leaseId: string, options: SendOptions): Promise<LeaseInfo> {
    return this.#lease(await this.#send({ kind: "leaseKeepAlive", lease: leaseId }, options));
  }

  async timeToLive(leaseId: string, withKeys: boolean, options: CallOptions): Promise<LeaseDetails> {
    const answer = await this.#send({ kind: "leaseTimeToLive", lease: leaseId, withKeys }, options);
    const { ttlSeconds, grantedTtlSeconds, keys } = answer;
    if (ttlSeconds < 0) throw leaseNotFound(leaseId);
    const details = { leaseId, ttlSeconds, grantedTtlSeconds };
    return withKeys ? { ...details, keys: keys.map(shownKey) } : details;
  }

  async revoke(leaseId: string, options: ConfigWriteOptions): Promise<void> {
    await this.#send({ kind: "leaseRevoke", lease: leaseId }, options);
  }

  #lease({ lease, ttlSeconds, grantedTtlSeconds }: Answered<{ kind: "leaseGrant" } & ConfigRequest>): LeaseInfo {
    if (ttlSeconds < 0) throw leaseNotFound(lease);
    return { leaseId: lease, ttlSeconds: grantedTtlSeconds };
  }

  /** The write if all compares hold; else `preconditionFailed` with the key as it is. */
  async #writeIf<W extends Extract<TxnOperation, { kind: "put" | "deleteRange" }>>(
    write: W,
    compare: ReturnType<typeof comparesOf>,
    options: ConfigWriteOptions & ConfigConditions,
  ): Promise<{ readonly answer: Answered<W>; readonly revision: number }> {
    if (compare.length === 0) {
      const answer = await this.#send(write, options);
      return { answer, revision: answer.header.revision };
    }
    const failure = [{ kind: "range", key: compare[0]!.key, rangeEnd: "" } as const];
    const answer = await this.#send({ kind: "txn", compare, success: [write], failure }, options);
    const { revision } = answer.header;
    if (answer.succeeded) return { answer: answer.responses[0] as Answered<W>, revision };
    const [kv] = (answer.responses[0] as RangeAnswer).kvs;
    throw preconditionFailed(kv, revision);
  }

  async #send<R extends ConfigRequest>(request: R, options: SendOptions): Promise<Answered<R>> {
    const { signal, timeoutMs, isOwned } = options;
    const isWrite = isWriting(request);
    const writeId = isWrite ? this.#writeIdOf(options) : undefined;
    // One that is its caller's own is refused with another request, over whatever way it comes.
    const bodyHash = options.writeId === undefined ? new Uint8Array(BODY_HASH_BYTES) : await hashOf(request);
    const writer = new ByteWriter(256);
    writeConfigCallBody(writer, { writeId, bodyHash, request });
    const body = await new Promise<Uint8Array>((resolve, reject) => {
      this.#session.submit(
        new SessionCall({
          ...{ op: "config", key: this.#namespace, value: writer.take(), isRaw: false, isOwned, isRead: !isWrite },
          ...{ writeId, signal, resolve, reject },
          deadlineMs: this.#options.runtime.now() + (timeoutMs ?? this.#options.timeoutMs),
        }),
      );
    });
    const answer = readConfigAnswer(new ByteReader(body));
    if (answer.kind === "error") throw new JadeError(answer.code, answer.message, { details: answer.details });
    return answer as Answered<R>;
  }

  #writeIdOf({ writeId }: ConfigWriteOptions): Uint8Array {
    return writeId === undefined ? this.#writeIds.next() : fromHex(writeId);
  }
}

function leaseNotFound(leaseId: string): JadeError {
  return new JadeError("leaseNotFound", `there is no lease ${leaseId}; it may have expired`, { details: { leaseId } });
}

function preconditionFailed(kv: KeyValue | undefined, revision: number): JadeError {
  const message = kv ? "the key is not as the request says it must be" : "there is no such key";
  return new JadeError("preconditionFailed", message, { details: { revision, current: kv ? rawEntry(kv) : null } });
}

async function hashOf(request: ConfigRequest): Promise<Uint8Array> {
  const writer = new ByteWriter(256);
  writeConfigRequest(writer, request);
  const hash = await crypto.subtle.digest("SHA-256", writer.take() as Uint8Array<ArrayBuffer>);
  return new Uint8Array(hash, 0, BODY_HASH_BYTES);
}
