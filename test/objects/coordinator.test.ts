// The quorum coordinator as an object: frames by RPC, sessions by WebSocket, replicas that fail under it.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { Caller } from "../../src/access/types.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { readAnswers, type SessionAnswer, type SessionRequest, writeRequest } from "../../src/wire/session.ts";
import type { Coordinator } from "../../src/worker.ts";
import {
  encode,
  eventually,
  failingFirst,
  held,
  namespaceOf,
  newTenantNumber,
  newWriteId,
  replaceBindings,
  replica,
  rowOf,
  valuesOf,
} from "./replica-support.ts";

type Stub = DurableObjectStub<Coordinator>;
let names = 0;
/** A coordinator of its own, whose replicas are those of the deployment unless doubles are given. */
async function coordinator(doubles: Record<string, object> = {}): Promise<Stub> {
  const stub = env.COORDINATOR.get(env.COORDINATOR.idFromName(`test-${++names}`)) as unknown as Stub;
  if (Object.keys(doubles).length > 0)
    await replaceBindings(stub, { KEY_VALUE_REPLICA: namespaceOf((name) => doubles[name] ?? replica(name)) });
  return stub;
}

const callerOf = (tenant = newTenantNumber(), more: Partial<Caller> = {}): Caller => ({
  tenant,
  canWrite: true,
  replicationFactor: 3,
  defaultConsistency: "quorum",
  conflictPolicy: "siblings",
  ...more,
});

function frameOf(...requests: readonly SessionRequest[]): Uint8Array {
  const writer = new ByteWriter(64);
  for (const request of requests) writeRequest(writer, request);
  return writer.take();
}

const put = (id: number, key: string, text: string, more: Partial<SessionRequest> = {}): SessionRequest => ({
  id,
  op: "put",
  key,
  value: encode(text),
  writeId: newWriteId(),
  ...more,
});

async function call(stub: Stub, caller: Caller, ...requests: readonly SessionRequest[]): Promise<SessionAnswer[]> {
  const answers = readAnswers(await stub.call(caller, frameOf(...requests)));
  return answers.sort((a, b) => a.id - b.id);
}

const shown = (answer: SessionAnswer | undefined): string | undefined =>
  answer?.kind === "value"
    ? new TextDecoder().decode(answer.value)
    : answer?.kind === "error"
      ? answer.code
      : answer?.kind;

const away = { call: () => Promise.reject(new Error("injected: away")) };
const stalled = { call: () => new Promise<never>(() => undefined) };

describe("frames by RPC", () => {
  it("[RP-24] every request of a frame is answered once, refused ones too; an empty frame with an empty one", async () => {
    const stub = await coordinator();
    const caller = callerOf();
    const long = "k".repeat(1025);
    const answers = await call(
      stub,
      caller,
      put(1, "a", "1"),
      { id: 2, op: "ping", key: "" },
      put(3, "", "1"),
      put(4, long, "1"),
      { id: 5, op: "get", key: "none" },
    );
    expect(answers.map((answer) => [answer.id, shown(answer)])).toEqual([
      [1, "written"],
      [2, "pong"],
      [3, "invalidRequest"],
      [4, "invalidRequest"],
      [5, "notFound"],
    ]);
    expect((await stub.call(caller, new Uint8Array(0))).length).toBe(0);
    const [refused] = await call(stub, callerOf(caller.tenant, { canWrite: false }), put(1, "a", "2"));
    expect(shown(refused)).toBe("forbidden");
  });

  it("[RP-1] [RP-10] a quorum write is on a majority when it is answered, and read back byte for byte", async () => {
    const stub = await coordinator();
    const caller = callerOf();
    const text = '{"b":1.0,"a":9007199254740993}';
    await call(stub, caller, put(1, "k", text, { consistency: "quorum" }));
    const states = await Promise.all(["n1", "n2", "n3"].map((node) => held(node, rowOf(caller.tenant, "k"))));
    expect(states.filter((state) => valuesOf(state)[0] === text).length).toBeGreaterThanOrEqual(2);
    expect(shown((await call(stub, caller, { id: 2, op: "get", key: "k" }))[0])).toBe(text);
  });

  it("[RP-2] [RP-3] one node away: quorum goes on; two away: unknown, then unavailable, and no hang", async () => {
    const one = await coordinator({ n3: away });
    const caller = callerOf();
    expect(shown((await call(one, caller, put(1, "k", "1")))[0])).toBe("written");
    expect(shown((await call(one, caller, { id: 2, op: "get", key: "k" }))[0])).toBe("1");
    const two = await coordinator({ n2: away, n3: away });
    const codes = new Set<string | undefined>();
    for (let i = 1; i <= 5; i++) codes.add(shown((await call(two, caller, put(i, "k", "2")))[0]));
    expect(codes.has("written")).toBe(false);
    expect(codes.has("quorumUnavailable")).toBe(true);
  });

  it("[RP-4] a node that stalls is timed out, and its hint arrives when it answers again", async () => {
    const stub = await coordinator({ n2: stalled });
    const caller = callerOf();
    const begin = Date.now();
    expect(shown((await call(stub, caller, put(1, "k", "1", { consistency: "all" })))[0])).toBe("unknownOutcome");
    expect(Date.now() - begin).toBeLessThan(8000);
    await eventually(async () => valuesOf(await held("n2", rowOf(caller.tenant, "k")))[0] === "1");
    expect(shown((await call(stub, caller, { id: 2, op: "get", key: "k" }))[0])).toBe("1");
  });

  it("[RP-24] a replica that failed and came back is asked through a new stub", async () => {
    const double = failingFirst("n1", 2);
    const stub = await coordinator({ n1: double });
    const caller = callerOf();
    for (let i = 1; i <= 4; i++) expect(shown((await call(stub, caller, put(i, `k${i}`, "1")))[0])).toBe("written");
    expect(double.calls).toBeGreaterThan(2);
  });

  it("[RP-17] forty values of 1 MiB are read in one frame's worth of gets", async () => {
    const stub = await coordinator();
    const caller = callerOf();
    const big = `"${"x".repeat(1024 * 1024 - 2)}"`;
    const ids = Array.from({ length: 40 }, (_, i) => i);
    for (const id of ids) expect(shown((await call(stub, caller, put(id, `big ${id}`, big)))[0])).toBe("written");
    const sizes = await runInDurableObject(stub as unknown as DurableObjectStub, async (instance) => {
      const core = instance as unknown as Coordinator;
      const frames = await Promise.all(
        ids.map((id) => core.call(caller, frameOf({ id, op: "get", key: `big ${id}` }))),
      );
      return frames.map((frame) => frame.length);
    });
    for (const size of sizes) expect(size).toBeGreaterThan(1024 * 1024);
  });
});

describe("sessions", () => {
  async function open(
    caller: Caller,
    stub?: Stub,
  ): Promise<{ socket: WebSocket; closed: Promise<{ code: number; reason: string }>; answers: SessionAnswer[] }> {
    const target = stub ?? (await coordinator());
    const response = await target.fetch("http://jade.test/", {
      headers: {
        upgrade: "websocket",
        "jade-caller": JSON.stringify(caller),
        "sec-websocket-protocol": "jade.v1, other",
      },
    });
    expect(response.status).toBe(101);
    expect(response.headers.get("sec-websocket-protocol")).toBe("jade.v1");
    const socket = response.webSocket!;
    socket.binaryType = "arraybuffer";
    const answers: SessionAnswer[] = [];
    socket.addEventListener("message", (event) =>
      answers.push(...readAnswers(new Uint8Array(event.data as ArrayBuffer))),
    );
    const closed = new Promise<{ code: number; reason: string }>((resolve) =>
      socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason })),
    );
    socket.accept();
    return { socket, closed, answers };
  }

  async function until(check: () => boolean): Promise<void> {
    for (let i = 0; i < 200 && !check(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(check()).toBe(true);
  }

  it("requests of one message and of many are answered, each once", async () => {
    const { socket, answers } = await open(callerOf());
    socket.send(frameOf(put(1, "a", "1"), put(2, "b", "2")));
    for (let id = 3; id <= 20; id++) socket.send(frameOf(put(id, `k${id}`, String(id))));
    await until(() => answers.length === 20);
    expect(answers.map(({ id }) => id).sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(new Set(answers.map(shown))).toEqual(new Set(["written"]));
    socket.close();
  });

  it("a text message closes the session with 1003", async () => {
    const { socket, closed } = await open(callerOf());
    socket.send("hello");
    expect(await closed).toEqual({ code: 1003, reason: "binary frames only" });
  });

  it.each([
    ["an unknown operation", Uint8Array.from([1, 0, 0, 0, 9, 0])],
    ["a frame cut in the middle", frameOf(put(1, "k", "1")).slice(0, -3)],
    ["invalid UTF-8 as a key", Uint8Array.from([1, 0, 0, 0, 2, 0, 1, 0xff])],
    [
      "a clock out of order",
      frameOf({
        id: 1,
        op: "get",
        key: "k",
        clock: {
          vector: [
            { actor: 8193, counter: 1 },
            { actor: 4097, counter: 1 },
          ],
          dots: [],
          time: 0,
        },
      }),
    ],
  ])("%s closes the session with 1007, and nothing of the message is done", async (_, frame) => {
    const caller = callerOf();
    const stub = await coordinator();
    const { socket, closed, answers } = await open(caller, stub);
    const good = frameOf(put(7, "before", "1"));
    const message = new Uint8Array(good.length + frame.length);
    message.set(good);
    message.set(frame, good.length);
    socket.send(message);
    expect((await closed).code).toBe(1007);
    expect(answers).toEqual([]);
    expect(shown((await call(stub, caller, { id: 1, op: "get", key: "before" }))[0])).toBe("notFound");
  });

  it("[RP-24] a session with too many requests under way is told so, and goes on", async () => {
    const stub = await coordinator({ n1: stalled, n2: stalled, n3: stalled });
    const { socket, answers } = await open(callerOf(), stub);
    const requests = Array.from({ length: 8193 }, (_, id): SessionRequest => ({ id, op: "get", key: "k" }));
    socket.send(frameOf(...requests));
    await until(() => answers.length > 0);
    expect(answers[0]).toMatchObject({ id: 8192, kind: "error", code: "overloaded" });
    socket.send(frameOf({ id: 9000, op: "ping", key: "" }));
    socket.close();
  });

  it("[RP-15] a forged clock is refused by the coordinator, in its own sentence", async () => {
    const stub = await coordinator();
    const caller = callerOf();
    const forged = (actor: number, counter: number, time = 0) => ({ vector: [{ actor, counter }], dots: [], time });
    const clocks = [
      forged(99 * 4096 + 1, 1),
      forged(4097, 2 ** 50),
      forged(4097, 1, (Date.now() + 2 * 3_600_000) * 2048),
    ];
    for (const clock of clocks) {
      const [answer] = await call(stub, caller, put(1, "k", "1", { clock }));
      expect(shown(answer)).toBe("malformedClock");
    }
    expect(shown((await call(stub, caller, { id: 1, op: "get", key: "k", consistency: "all" }))[0])).toBe("notFound");
  });

  it("what is no session is told to upgrade", async () => {
    const stub = await coordinator();
    expect((await stub.fetch("http://jade.test/")).status).toBe(426);
    expect((await stub.fetch("http://jade.test/", { headers: { upgrade: "websocket" } })).status).toBe(426);
  });
});
