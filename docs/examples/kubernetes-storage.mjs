// How a Kubernetes API server uses etcd, through the npm package etcd3 as it is: objects below /registry, each change a transaction on the
// object's mod_revision, lists in pages at one revision, watches with previous values and bookmarks, events that end with a lease, compaction.
// Shows: etcd's gRPC API. No lost update, no torn list, a cache that is kept by a watch and equals a list; it runs on etcd as well.
// Run: jade-db serve --grpc-port 2379; ETCD_URL=http://127.0.0.1:2379 ETCD_USER=tenant ETCD_PASSWORD=… node docs/examples/kubernetes-storage.mjs
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd3 } from "etcd3";

const MOD = "Mod";

/** The end of the range of all keys that begin so. */
function endOf(prefix) {
  const end = Buffer.from(prefix);
  end[end.length - 1] += 1;
  return end;
}

/** What k8s.io/apiserver's storage.Interface does, over one client. Revisions are numbers as text. */
export class ObjectStorage {
  #client;

  constructor(client) {
    this.#client = client;
  }

  /** False = there is one of this name. */
  async create(key, value, lease) {
    const put = this.#client.put(key).value(value);
    const { succeeded, header } = await this.#client
      .if(key, MOD, "==", 0)
      .then(lease ? put.lease(lease) : put)
      .commit();
    return succeeded && header.revision;
  }

  /** Of the object as it was at `modRevision`. A conflict gives the object as it is (null = gone). */
  async update(key, modRevision, value) {
    return this.#change(key, modRevision, this.#client.put(key).value(value));
  }

  async remove(key, modRevision) {
    return this.#change(key, modRevision, this.#client.delete().key(key));
  }

  async #change(key, modRevision, operation) {
    const { succeeded, header, responses } = await this.#client
      .if(key, MOD, "==", modRevision)
      .then(operation)
      .else(this.#client.get(key))
      .commit();
    if (succeeded) return { revision: header.revision };
    return { current: responses[0].response_range.kvs[0] ?? null };
  }

  async get(key) {
    return (await this.#client.kv.range({ key: Buffer.from(key) })).kvs[0];
  }

  /** Pages of a list; all show the first one's revision, as `limit` and `continue` do. */
  async *pages(prefix, limit) {
    let key = Buffer.from(prefix);
    let revision;
    for (;;) {
      const { header, kvs, more, count } = await this.#client.kv.range({
        key,
        range_end: endOf(prefix),
        limit,
        revision,
      });
      revision ??= header.revision;
      yield { revision, kvs, count: Number(count) };
      if (!more) return;
      key = Buffer.concat([kvs.at(-1).key, Buffer.from([0])]);
    }
  }

  async list(prefix, limit = 500) {
    const list = { revision: "0", objects: new Map(), pages: 0, isTorn: false };
    for await (const { revision, kvs, count } of this.pages(prefix, limit)) {
      // `count` is what was left with this page: together with what came before it never changes.
      list.total ??= count;
      list.isTorn ||= list.objects.size + count !== list.total;
      for (const kv of kvs) list.objects.set(kv.key.toString(), { modRevision: kv.mod_revision, value: kv.value });
      list.revision = revision;
      list.pages++;
    }
    return list;
  }

  /** One stream; each of `ranges` (a key, or a prefix that ends in `/`) is a watch of it, numbered from 0. */
  async watch(ranges, { startRevision, onEvents, onProgress, onCanceled }) {
    const stream = await this.#client.watchClient.watch();
    let created = 0;
    const started = Promise.withResolvers();
    stream.on("error", () => undefined); // the end of a call that was cancelled
    stream.on("data", (message) => {
      if (message.canceled) onCanceled?.(message.compact_revision);
      else if (message.created) {
        if (++created === ranges.length) started.resolve();
      } else if (message.events.length > 0) onEvents(message.events, message.header.revision, Number(message.watch_id));
      else onProgress?.(message.header.revision);
    });
    for (const [watch_id, key] of ranges.entries()) {
      const range_end = key.endsWith("/") ? endOf(key) : undefined;
      const start = startRevision && { start_revision: startRevision };
      stream.write({
        create_request: { key: Buffer.from(key), range_end, watch_id, prev_kv: true, progress_notify: true, ...start },
      });
    }
    await started.promise;
    return {
      /** Asks how far the stream has come: a bookmark. */
      progress: () => stream.write({ progress_request: {} }),
      close: () => stream.cancel(),
    };
  }

  /** Only one API server compacts in an interval: who changes the version of this key. */
  async compact(revision) {
    const key = "compact_rev_key";
    const version = Number((await this.get(key))?.version ?? 0);
    const { succeeded } = await this.#client
      .if(key, "Version", "==", version)
      .then(this.#client.put(key).value(revision))
      .commit();
    if (succeeded) await this.#client.kv.compact({ revision });
    return succeeded;
  }

  async lease(ttlSeconds) {
    return (await this.#client.leaseClient.leaseGrant({ TTL: ttlSeconds })).ID;
  }
}

/** As a client library's informer: a list, then a watch from its revision on; holds the objects, and notices what does not fit. */
class Informer {
  objects = new Map();
  revision = "0";
  bookmark = "0";
  misfits = 0;
  /** The oldest revision that can be watched, where it came too late. */
  compacted;
  #storage;
  #prefix;
  #watch;

  constructor(storage, prefix) {
    this.#storage = storage;
    this.#prefix = prefix;
  }

  async list() {
    const { revision, objects } = await this.#storage.list(this.#prefix);
    this.objects = objects;
    this.revision = revision;
  }

  /** From the revision that it has. */
  async watch() {
    this.#watch = await this.#storage.watch([this.#prefix], {
      startRevision: String(Number(this.revision) + 1),
      onEvents: (events, revision) => this.#take(events, revision),
      onProgress: (revision) => {
        this.bookmark = revision;
      },
      onCanceled: (revision) => {
        this.compacted = revision;
      },
    });
  }

  #take(events, revision) {
    for (const { type, kv, prev_kv } of events) {
      const key = kv.key.toString();
      const held = this.objects.get(key);
      if (Number(kv.mod_revision) <= Number(this.revision)) this.misfits++;
      if ((prev_kv?.mod_revision ?? "0") !== (held?.modRevision ?? "0")) this.misfits++;
      if (type === "Delete") this.objects.delete(key);
      else this.objects.set(key, { modRevision: kv.mod_revision, value: kv.value });
    }
    this.revision = revision;
  }

  async bookmarkAt(revision) {
    while (Number(this.bookmark) < Number(revision)) {
      this.#watch.progress();
      await sleep(20);
    }
  }

  stop() {
    this.#watch.close();
  }

  equals({ objects }) {
    if (objects.size !== this.objects.size) return false;
    return [...objects].every(([key, { modRevision }]) => this.objects.get(key)?.modRevision === modRevision);
  }
}

const podKey = (i) => `/registry/pods/team-${i % 10}/pod-${String(i).padStart(6, "0")}`;
const podOf = (i, phase) =>
  JSON.stringify({ kind: "Pod", metadata: { name: `pod-${i}` }, status: { phase } }).padEnd(600);

async function inParallel(count, width, run) {
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < count; i = next++) await run(i);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** Each adds one to the same object, until its transaction was not too late. */
async function count(storage, key, times) {
  let conflicts = 0;
  for (let i = 0; i < times; i++) {
    let current = await storage.get(key);
    for (;;) {
      const answer = await storage.update(key, current.mod_revision, String(Number(current.value.toString()) + 1));
      if (answer.revision) break;
      conflicts++;
      current = answer.current;
    }
  }
  return conflicts;
}

async function main() {
  const { ETCD_URL: hosts = "http://127.0.0.1:2379", ETCD_USER: username, ETCD_PASSWORD: password } = process.env;
  const pods = Number(process.env.PODS ?? 1200);
  const client = new Etcd3({ hosts, ...(username ? { auth: { username, password } } : {}) });
  const storage = new ObjectStorage(client);
  await client.delete().prefix("/registry/");

  const oldest = await storage.create("/registry/first", "{}");
  await inParallel(pods, 32, (i) => storage.create(podKey(i), podOf(i, "Pending")));
  const isRefused = (await storage.create(podKey(0), podOf(0, "Twice"))) === false;
  const informer = new Informer(storage, "/registry/pods/");
  await informer.list();
  await informer.watch();

  // Pods change, come and go while they are listed.
  let isListing = true;
  const changing = inParallel(4, 4, async (worker) => {
    for (let i = worker; isListing; i = (i + 4) % pods) {
      const pod = await storage.get(podKey(i));
      if (!pod) await storage.create(podKey(i), podOf(i, "Pending"));
      else if (i % 7 === 0) await storage.remove(podKey(i), pod.mod_revision);
      else await storage.update(podKey(i), pod.mod_revision, podOf(i, "Running"));
    }
  });
  const lists = [];
  for (let i = 0; i < 5; i++) lists.push(await storage.list("/registry/pods/", 100));
  isListing = false;
  await changing;
  const areWhole = lists.every(
    ({ isTorn, total, objects, revision }) =>
      !isTorn &&
      objects.size === total &&
      [...objects.values()].every(({ modRevision }) => Number(modRevision) <= Number(revision)),
  );

  await storage.create("/registry/counter", "0");
  const conflicts = await Promise.all(Array.from({ length: 8 }, () => count(storage, "/registry/counter", 10)));
  const counter = await storage.get("/registry/counter");

  // An informer that stops at a bookmark, and goes on there.
  await informer.bookmarkAt(counter.mod_revision);
  const equalled = informer.equals(await storage.list("/registry/pods/"));
  informer.stop();
  informer.revision = informer.bookmark;
  await inParallel(50, 8, (i) => storage.create(`/registry/pods/late/pod-${i}`, podOf(i, "Late")));
  const eventLease = await storage.lease(2);
  await storage.create("/registry/pods/late/event", "{}", eventLease);
  await informer.watch();
  while (informer.objects.has("/registry/pods/late/event") || informer.objects.size < 51) await sleep(50);
  while (await storage.get("/registry/pods/late/event")) await sleep(100);
  const { revision: now } = await storage.list("/registry/pods/late/");
  await informer.bookmarkAt(now);
  const equals = equalled && informer.equals(await storage.list("/registry/pods/"));
  informer.stop();

  // Who sleeps through a compaction lists anew.
  const isCompacted = await storage.compact(now);
  const late = new Informer(storage, "/registry/pods/");
  late.revision = oldest;
  await late.watch();
  while (late.compacted === undefined) await sleep(20);
  late.stop();
  const results = { pods, isRefused, pages: lists[0].pages, areWhole, counter: Number(counter.value), equals };
  const misfits = informer.misfits;
  console.log(
    JSON.stringify({
      ...results,
      misfits,
      isCompacted,
      mustRelist: late.compacted === now,
      conflicts: conflicts.flat().reduce((a, b) => a + b),
    }),
  );
  client.close();
}

if (import.meta.main) await main();
