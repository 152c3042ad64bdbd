// Watches served by a zone's copy: what they are told, and what happens when the copy, its owner, or its place in the log is lost.
import { createExecutionContext, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { prefixRange } from "../../src/wire/config-keys.ts";
import type { ConfigFollower } from "../../src/worker.ts";
import { accept, newGateway } from "./access-support.ts";
import { call, callAll, type KeyspaceStub, putOf } from "./config-support.ts";
import { ask, directory, newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { keyspaceOf, type Watcher, watcher } from "./watch-support.ts";

const ALL = prefixRange("");
const SLOW = { timeout: 15_000, interval: 20 };

async function setup() {
  const { tenantId, key } = await newTenant();
  const name = `z1/c${await directory().lookupTenant(tenantId)}/default`;
  const copy = env.CONFIG_FOLLOWER.get(env.CONFIG_FOLLOWER.idFromName(name));
  const gateway = newGateway({ config: { serveFromFollowers: true } });
  const owner = await keyspaceOf(tenantId);
  return { tenantId, key, owner, gateway, copy: copy as unknown as DurableObjectStub<ConfigFollower> };
}

const crash = (stub: DurableObjectStub): Promise<unknown> =>
  runInDurableObject(stub, (_, state) => state.abort("injected: crash")).catch(() => undefined);

const created = ({ messages }: Watcher, count = 1): Promise<void> =>
  vi.waitFor(() => expect(messages.filter(({ kind }) => kind === "created").length).toBe(count), SLOW);

const countAt = (stub: DurableObjectStub<ConfigFollower>): Promise<number> =>
  stub.metrics().then((samples) => samples["jade_config_watches"]!);

/** A client that connects again whenever it is cut off, from the revision behind the last it heard of. */
class Resuming {
  readonly revisions: number[] = [];
  connections = 0;
  readonly #open: () => Promise<Watcher>;
  #next: number;

  constructor(open: () => Promise<Watcher>, from: number) {
    this.#open = open;
    this.#next = from;
  }

  async watchUntil(revision: number): Promise<void> {
    while (this.#next <= revision) await this.#once(revision);
  }

  async #once(last: number): Promise<void> {
    const watching = await this.#open().catch(() => undefined);
    if (!watching) return void (await new Promise((resolve) => setTimeout(resolve, 50)));
    this.connections++;
    let isOpen = true;
    void watching.closed.then(() => {
      isOpen = false;
    });
    watching.stream.create({ ...ALL, startRevision: this.#next });
    let taken = 0;
    while (this.#next <= last && (isOpen || taken < watching.messages.length)) {
      for (; taken < watching.messages.length; taken++) {
        const message = watching.messages[taken]!;
        if (message.kind !== "events") continue;
        this.revisions.push(message.header.revision);
        this.#next = message.header.revision + 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    watching.socket.close(1000);
  }
}

const from = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

/** Writes one after the other; the last answered revision. */
async function writeMany(
  owner: KeyspaceStub,
  count: number,
  beforeEach?: (index: number) => Promise<void>,
): Promise<number> {
  let revision = 0;
  for (let index = 0; index < count; index++) {
    await beforeEach?.(index);
    const answer = await call(owner, putOf(`k${index % 7}`, String(index))).catch(() => undefined);
    if (answer?.kind === "put") revision = answer.header.revision;
  }
  return revision;
}

describe("a watch at a follower", () => {
  it("[CF-175] is told of every change once, in order, with previous values, from the past and from now on", async () => {
    const { key, owner, gateway, copy } = await setup();
    await callAll(owner, [{ request: putOf("a", "1") }, { request: putOf("b/1") }]);
    const watching = await watcher(key, gateway);
    watching.stream.create({ ...ALL, startRevision: 2, prevKv: true });
    watching.stream.create({ ...prefixRange("b/") });
    await created(watching, 2);
    expect(await countAt(copy)).toBe(2);
    expect(await call(owner, { kind: "status" })).toMatchObject({ watches: 0 });
    await call(owner, putOf("a", "2"));
    await call(owner, { kind: "deleteRange", ...ALL });
    await vi.waitFor(
      () => expect(watching.events()).toEqual(["2 put a", "3 put b/1", "4 put a", "5 delete a", "5 delete b/1"]),
      SLOW,
    );
    expect(watching.events(1)).toEqual(["5 delete b/1"]);
    const fourth = watching.messages.find(({ kind, header }) => kind === "events" && header.revision === 4);
    expect(fourth).toMatchObject({ events: [{ prevKv: { value: new TextEncoder().encode("1") } }] });
  });

  it("[CF-176] begins behind every write that was answered before it was asked for, whatever the follower had then", async () => {
    const { key, owner, gateway, copy } = await setup();
    for (let round = 0; round < 5; round++) {
      // It no longer follows, and is asked in the very request that wakes it.
      await crash(copy);
      const written = await call(owner, putOf("a", String(round)));
      if (written.kind !== "put") throw new Error("refused");
      const headers = { upgrade: "websocket", authorization: `Bearer ${key}` };
      const request = new Request("http://jade.test/v1/config/watch?prefix=", { headers });
      const socket = accept(await gateway.handle(request, createExecutionContext()));
      const messages: { readonly type: string; readonly revision: number }[] = [];
      socket.addEventListener("message", ({ data }) => messages.push(JSON.parse(data as string)));
      await vi.waitFor(() => expect(messages).toHaveLength(1), SLOW);
      expect(messages[0]).toMatchObject({ type: "created", revision: written.header.revision });
      await call(owner, putOf("a", "next"));
      await vi.waitFor(() => expect(messages).toHaveLength(2), SLOW);
      expect(messages[1]).toMatchObject({ type: "events", revision: written.header.revision + 1 });
      socket.close(1000);
    }
  });

  it("[CF-177] goes on over crashes of the follower: no revision is missing or told twice", async () => {
    const { key, owner, gateway, copy } = await setup();
    const first = await writeMany(owner, 1);
    const client = new Resuming(() => watcher(key, gateway), first + 1);
    const writing = writeMany(owner, 300, async (index) => {
      if (index % 60 === 30) await crash(copy);
    });
    await client.watchUntil(first + 300);
    expect(await writing).toBe(first + 300);
    expect(client.revisions).toEqual(from(first + 1, first + 300));
    expect(client.connections).toBeGreaterThan(1);
  });

  it("[CF-177] goes on over crashes of the owner in the middle of its writes", async () => {
    const { tenantId, key, gateway } = await setup();
    let owner = await keyspaceOf(tenantId);
    const first = await writeMany(owner, 1);
    const watching = await watcher(key, gateway);
    watching.stream.create({ ...ALL, startRevision: first + 1 });
    await created(watching);
    for (let round = 0; round < 4; round++) {
      const under = Array.from({ length: 50 }, (_, index) => call(owner, putOf(`${round}/${index}`)).catch(() => 0));
      await new Promise((resolve) => setTimeout(resolve, round * 3));
      await crash(owner);
      await Promise.all(under);
      owner = await keyspaceOf(tenantId);
    }
    const revision = await vi.waitFor(async () => {
      const last = await call(await keyspaceOf(tenantId), putOf("end"));
      if (last.kind !== "put") throw new Error("refused");
      return last.header.revision;
    }, SLOW);
    const told = (): readonly number[] =>
      watching.messages.flatMap(({ kind, header }) => (kind === "events" ? [header.revision] : []));
    await vi.waitFor(() => expect(told().at(-1)).toBe(revision), SLOW);
    // The connection outlived its owner.
    expect(told()).toEqual(from(first + 1, revision));
  });

  it("[CF-178] that needs revisions the copy lacks is sent to the owner, which alone says compacted", async () => {
    const { tenantId, key, gateway, copy } = await setup();
    const owner = await keyspaceOf(tenantId);
    await writeMany(owner, 20);
    await call(owner, { kind: "compact", revision: 10 });
    await vi.waitFor(async () => {
      const left = await runInDurableObject(owner, (_, state) =>
        Number(state.storage.sql.exec("SELECT count(*) AS n FROM config_log").one()["n"]),
      );
      expect(left).toBeLessThan(20);
    }, SLOW);
    // Its newest records are no longer in memory, so the first that is asked of the copy has it fill itself with the state of revision 21.
    await crash(owner);
    const present = await watcher(key, gateway);
    present.stream.create(ALL);
    await created(present);
    const early = await watcher(key, gateway);
    early.stream.create({ ...ALL, startRevision: 12 });
    expect(await early.closed).toMatchObject({ code: 1013 });
    const again = await watcher(key, gateway);
    again.stream.create({ ...ALL, startRevision: 12 });
    await vi.waitFor(() => expect(again.events()).toHaveLength(10), SLOW);
    expect(again.events()[0]).toMatch(/^12 /);
    again.stream.create({ ...ALL, startRevision: 9, watchId: 7 });
    await vi.waitFor(
      () => expect(again.messages.at(-1)).toMatchObject({ kind: "canceled", watchId: 7, compactRevision: 10 }),
      SLOW,
    );
    expect(await countAt(copy)).toBe(1);
  });

  it("[CF-47] ends within five seconds after its key is revoked; others go on", async () => {
    const { tenantId, key, owner, gateway } = await setup();
    const other = await newKey(tenantId, {});
    const [ending, staying] = [await watcher(other, gateway), await watcher(key, gateway)];
    for (const watching of [ending, staying]) {
      watching.stream.create(ALL);
      await created(watching);
    }
    const beganMs = Date.now();
    const keyId = other.split(".").at(-2);
    const revoked = await ask("DELETE", `/v1/tenants/${tenantId}/keys/${keyId}`, { key: ROOT_KEY });
    expect(revoked.status).toBeLessThan(300);
    expect(await ending.closed).toMatchObject({ code: 1008 });
    expect(Date.now() - beganMs).toBeLessThan(5000);
    await call(owner, putOf("after"));
    await vi.waitFor(() => expect(staying.events()).toHaveLength(1), SLOW);
    expect(ending.events()).toEqual([]);
  });
});
