// A session alone, against a submit that answers at once: what waits, what is refused, what is closed.
import { describe, expect, it } from "vitest";
import { Session } from "../../objects/session.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { readAnswers, type SessionAnswer, type SessionRequest, writeRequest } from "../../src/wire/session.ts";

const VALUE = new Uint8Array(1024 * 1024).fill(0x31);
const CLOCK = { vector: [], dots: [], time: 0 };

function frameOf(...requests: SessionRequest[]): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(1024);
  for (const request of requests) writeRequest(writer, request);
  return writer.take() as Uint8Array<ArrayBuffer>;
}

function open(stallMs?: number) {
  const { 0: client, 1: server } = new WebSocketPair();
  const started: number[] = [];
  const session = new Session(
    server,
    (request, done) => {
      started.push(request.id);
      done(
        request.op === "get"
          ? { id: request.id, kind: "value", clock: CLOCK, value: VALUE }
          : { id: request.id, kind: "written", clock: CLOCK },
      );
    },
    stallMs,
  );
  client.binaryType = "arraybuffer";
  const answers: SessionAnswer[] = [];
  const received = { bytes: 0 };
  client.addEventListener("message", (event) => {
    const bytes = new Uint8Array(event.data as ArrayBuffer);
    received.bytes += bytes.length;
    answers.push(...readAnswers(bytes));
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    client.addEventListener("close", ({ code, reason }) => resolve({ code, reason })),
  );
  client.accept();
  return { client, session, started, answers, received, closed };
}

const gets = (count: number): SessionRequest[] =>
  Array.from({ length: count }, (_, id) => ({ id, op: "get" as const, key: "k" }));
const put = (id: number): SessionRequest => ({ id, op: "put", key: "k", value: VALUE, writeId: new Uint8Array(16) });
const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("a session whose client does not read", () => {
  it("starts no more reads while answers are unread, and goes on in order when they are acknowledged", async () => {
    const { client, started, answers, received } = open();
    client.send(frameOf(...gets(200)));
    await later(50);
    const first = started.length;
    expect(first).toBeLessThan(100);
    expect(answers.length).toBe(first);
    for (let round = 0; answers.length < 200 && round < 200; round++) {
      client.send(frameOf({ id: received.bytes % 2 ** 32, op: "ack", key: "" }));
      await later(2);
    }
    expect(started).toEqual(Array.from({ length: 200 }, (_, id) => id));
    expect(answers.length).toBe(200);
    client.close();
  });

  it("holds a bounded number of bytes for later and refuses the rest as overloaded", async () => {
    const { client, answers } = open();
    client.send(frameOf(...gets(100)));
    await later(50);
    for (let id = 1000; id < 1020; id++) client.send(frameOf(put(id)));
    await later(50);
    const refused = answers.filter((answer) => answer.kind === "error");
    expect(refused.map(({ id }) => id)).toEqual([1016, 1017, 1018, 1019]);
    expect(refused[0]).toMatchObject({ code: "overloaded" });
    client.close();
  });

  it("is closed with 1008 when nothing is acknowledged for the time allowed, and not before", async () => {
    const { client, closed, received } = open(300);
    client.send(frameOf(...gets(200)));
    await later(200);
    client.send(frameOf({ id: 1, op: "ack", key: "" }));
    await later(200);
    client.send(frameOf({ id: received.bytes % 2 ** 32, op: "ack", key: "" }));
    await later(50);
    const { code, reason } = await closed;
    expect(code).toBe(1008);
    expect(reason).toContain("not acknowledged");
  });
});
