// etcd's Election.Observe: who leads, and what it proclaims, as it changes.
// Guarantees: every leader and every value since the call began, in order, however short its time; where what comes next was compacted it
// goes on from the present. Must not: hold the values of those who wait.

import { etcdErrorOf, GRPC, ownRefusal } from "../etcd/errors.ts";
import { headerOf } from "../etcd/identity.ts";
import { jsonOf, messageOfJson } from "../etcd/json.ts";
import { LeaderRequest, LeaderResponse } from "../etcd/messages-lock.ts";
import type { AnswerHeader, BinaryKey, ConfigEvent, KeyValue } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
import type { TakenMessage } from "../wire/config-watch-stream.ts";
import { PublicError } from "../wire/error-codes.ts";
import { apiHeaders } from "./answers.ts";
import type { Call } from "./call.ts";
import { callConfig } from "./config-call.ts";
import { type ConfigWatch, openConfigWatch } from "./config-watch.ts";
import { publicErrorOf } from "./errors.ts";
import { type EtcdCaller, etcdCaller } from "./etcd-caller.ts";
import { closedBy, Lines, lineOf } from "./etcd-lines.ts";

export async function streamLeaders(call: Call, body: string): Promise<Response> {
  const caller = await etcdCaller(call);
  const { name = "" } = messageOfJson(LeaderRequest, body);
  if (name === "") throw ownRefusal(GRPC.invalidArgument, "name is empty");
  const { readable, writable } = new IdentityTransformStream();
  const observer = new Observer(call, { caller, name, lines: new Lines(writable.getWriter()) });
  await observer.begin();
  return new Response(readable, { headers: apiHeaders(call) });
}

interface Place {
  readonly createRevision: number;
  readonly modRevision: number;
}

interface ObserverOptions {
  readonly caller: EtcdCaller;
  readonly name: string;
  readonly lines: Lines;
}

class Observer {
  readonly #call: Call;
  readonly #options: ObserverOptions;
  readonly #range: { readonly key: BinaryKey; readonly rangeEnd: BinaryKey };
  /** Who leads or waits. */
  readonly #line = new Map<BinaryKey, Place>();
  #shown: { readonly key: BinaryKey; readonly modRevision: number } | undefined;
  #watch: ConfigWatch | undefined;
  /** Of the present; what comes after it waits. */
  #showing: Promise<void> | undefined;

  constructor(call: Call, options: ObserverOptions) {
    this.#call = call;
    this.#options = options;
    this.#range = prefixRange(`${options.name}/`);
  }

  async begin(): Promise<void> {
    const { caller, lines } = this.#options;
    this.#watch = await openConfigWatch(this.#call, caller.principal, caller.keyspace, {
      onMessage: (message) => this.#hear(message),
      onClose: (code) => void lines.fail(closedBy(code)),
    });
    lines.onGone = () => this.#watch?.close();
    await this.#readLine();
  }

  /** The present, and what comes after it. What is sent is not waited for: nobody reads before the answer has begun. */
  async #readLine(): Promise<void> {
    const { keyspace } = this.#options.caller;
    const { kvs, header } = await callConfig(this.#call, keyspace, { kind: "range", ...this.#range, keysOnly: true });
    this.#line.clear();
    for (const kv of kvs) this.#line.set(kv.key, kv);
    this.#showing = this.#show(header).catch((error) => this.#options.lines.fail(etcdErrorOf(publicErrorOf(error))));
    this.#watch?.stream.create({ ...this.#range, startRevision: header.revision + 1 });
  }

  async #hear(message: TakenMessage): Promise<void> {
    await this.#showing;
    if (message.kind === "canceled") await this.#readLine().catch(() => this.#options.lines.fail(closedBy(0)));
    if (message.kind !== "events") return;
    for (const { type, kv } of message.events) {
      if (type === "delete") this.#line.delete(kv.key);
      else this.#line.set(kv.key, kv);
    }
    await this.#show(message.header, message.events).catch((error) =>
      this.#options.lines.fail(etcdErrorOf(publicErrorOf(error))),
    );
  }

  /** `events`: of this revision; the leader's value may be among them. */
  async #show(header: AnswerHeader, events: readonly ConfigEvent[] = []): Promise<void> {
    let key: BinaryKey | undefined;
    let first: Place | undefined;
    for (const [candidate, place] of this.#line) {
      if (first && place.createRevision >= first.createRevision) continue;
      key = candidate;
      first = place;
    }
    if (key === undefined || first === undefined) return;
    const { modRevision } = first;
    if (this.#shown?.key === key && this.#shown.modRevision === modRevision) return;
    this.#shown = { key, modRevision };
    const kv =
      events.find((event) => event.type === "put" && event.kv.key === key)?.kv ?? (await this.#read(key, header));
    if (!kv) return;
    const { lines, caller } = this.#options;
    await lines.write(lineOf(jsonOf(LeaderResponse, { header: headerOf(caller.identity, header), kv })));
  }

  /** As it was then; where that is compacted, what it became is told by its own event. */
  async #read(key: BinaryKey, { revision }: AnswerHeader): Promise<KeyValue | undefined> {
    const { keyspace } = this.#options.caller;
    try {
      return (await callConfig(this.#call, keyspace, { kind: "range", key, rangeEnd: "", revision })).kvs[0];
    } catch (error) {
      if (error instanceof PublicError && error.code === "compacted") return undefined;
      throw error;
    }
  }
}
