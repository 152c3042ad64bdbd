// The load of the Kubernetes replay: objects, changes and lists in one process, watches in another (fork of this file).
// Guarantees: every delivery that is owed is counted; times run from before a change was sent to its arrival, by the machine's clock.

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Etcd3 } from "etcd3";
import { ObjectStorage } from "../../../docs/examples/kubernetes-storage.mjs";

const NAMESPACES = 500;
/** Of the watches: controllers that watch a kind. */
const KIND_WATCHES = 10;
/** Of the other watches: kubelets and controllers that watch a namespace; the rest watch one object. */
const NAMESPACE_SHARE = 0.1;
const OBJECT_BYTES = 1000;
/** As one API server's client has. */
const WATCHES_PER_STREAM = 500;
/** Share of a kind in all objects, as in a cluster whose pods have configuration of their own. */
const KINDS = [
  { name: "pods", share: 0.6 },
  { name: "configmaps", share: 0.2 },
  { name: "secrets", share: 0.15 },
  { name: "events", share: 0.05 },
];

export const connect = ({ url, auth }) => new Etcd3({ hosts: url, ...(auth ? { auth } : {}) });
export const epochMs = () => performance.timeOrigin + performance.now();

export function kindsOf(count) {
  return KINDS.map(({ name, share }) => ({ name, count: Math.floor(count * share) }));
}

export function keyOf(kind, i) {
  return `/registry/${kind}/ns-${String(i % NAMESPACES).padStart(4, "0")}/${kind}-${String(i).padStart(7, "0")}`;
}

const FILLER = "x".repeat(OBJECT_BYTES);

/** Begins with when it was made. */
export function objectOf() {
  return `{"at":${epochMs().toFixed(3)},"spec":"${FILLER}`.slice(0, OBJECT_BYTES - 2).concat('"}');
}

/** The watches of a run by number: what each watches, and how many are told of a change of pod `i`. */
export function watchPlan({ watches, pods }) {
  const kinds = Math.min(KIND_WATCHES, watches);
  const namespaces = Math.floor((watches - kinds) * NAMESPACE_SHARE);
  const singles = watches - kinds - namespaces;
  const rangeOf = (number) => {
    if (number < kinds) return "/registry/pods/";
    const rest = number - kinds;
    if (rest < namespaces) return `/registry/pods/ns-${String(rest % NAMESPACES).padStart(4, "0")}/`;
    return keyOf("pods", (rest - namespaces) % pods);
  };
  const timesOf = (all, period, i) => Math.floor(all / period) + (i < all % period ? 1 : 0);
  const toldOf = (i) => kinds + timesOf(namespaces, NAMESPACES, i % NAMESPACES) + timesOf(singles, pods, i);
  return { rangeOf, toldOf, watched: Math.min(singles, pods) };
}

export async function inParallel(count, width, run) {
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < count; i = next++) await run(i);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** The watching process. `ask` gives a message's answer. */
export function startWatchers() {
  const child = fork(fileURLToPath(import.meta.url), ["watchers"], { stdio: "inherit" });
  const waiting = new Map();
  let lastId = 0;
  child.on("message", ({ id, result, error }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(result);
  });
  return {
    ask: (message) =>
      new Promise((resolve, reject) => {
        waiting.set(++lastId, { resolve, reject });
        child.send({ id: lastId, ...message });
      }),
    dispose: () => child.kill(),
  };
}

const AT = /"at":([0-9.]+)/;

class Watchers {
  #streams = [];
  #latenciesMs = [];
  #events = 0;
  #outOfOrder = 0;

  async open({ target, watches, pods }) {
    const { rangeOf } = watchPlan({ watches, pods });
    const ranges = Array.from({ length: watches }, (_, number) => rangeOf(number));
    // Kinds, namespaces and single objects are spread over the streams.
    const count = Math.ceil(watches / WATCHES_PER_STREAM);
    await Promise.all(
      Array.from({ length: count }, async (_, stream) => {
        const own = ranges.filter((_range, number) => number % count === stream);
        const client = connect(target);
        const lastRevision = new Array(own.length).fill(0);
        const onEvents = (events, revision, watch) => {
          const nowMs = epochMs();
          if (Number(revision) < lastRevision[watch]) this.#outOfOrder++;
          lastRevision[watch] = Number(revision);
          for (const { kv } of events) {
            this.#events++;
            this.#latenciesMs.push(nowMs - Number(AT.exec(kv.value.toString("latin1", 0, 40))?.[1]));
          }
        };
        const watch = await new ObjectStorage(client).watch(own, { onEvents });
        this.#streams.push({ client, watch });
      }),
    );
    return {};
  }

  /** What has come since the last time, once it is `owed` events. */
  async take({ owed }) {
    const untilMs = performance.now() + 60_000;
    while (this.#events < owed && performance.now() < untilMs) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 200)); // one too many would come now
    const taken = { events: this.#events, outOfOrder: this.#outOfOrder, latenciesMs: this.#latenciesMs };
    this.#events = 0;
    this.#outOfOrder = 0;
    this.#latenciesMs = [];
    return taken;
  }

  close() {
    for (const { client, watch } of this.#streams.splice(0)) {
      watch.close();
      client.close();
    }
    return {};
  }
}

if (process.argv[2] === "watchers" && process.send) {
  const watchers = new Watchers();
  process.on("message", async ({ id, open, take, close }) => {
    try {
      const result = open ? await watchers.open(open) : take ? await watchers.take(take) : close && watchers.close();
      process.send({ id, result });
    } catch (error) {
      process.send({ id, error: String(error?.stack ?? error) });
    }
  });
}
