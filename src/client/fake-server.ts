// Test support: a server in memory behind a fake WebSocket and a fake fetch, on the real frame codec, with a hand-driven clock.
// Must not: be imported by anything but tests.
import { ByteWriter } from "../wire/bytes.ts";
import type { Clock } from "../wire/clock.ts";
import { readRequests, type SessionAnswer, type SessionRequest, writeAnswer } from "../wire/session.ts";
import type { ClientRuntime } from "./runtime.ts";

export class FakeRuntime implements ClientRuntime {
  timeMs = 0;
  #timers = new Set<{ at: number; callback: () => void }>();
  #random = 0;
  now = (): number => this.timeMs;
  random = (): number => 0.5;
  fillRandom(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#random++ & 255;
  }
  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.timeMs + delayMs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
  defer(callback: () => void): void {
    setImmediate(callback);
  }
  /** Runs timers up to the new time in order, letting promises settle in between. */
  async advance(byMs: number): Promise<void> {
    const end = this.timeMs + byMs;
    for (;;) {
      await settle();
      const next = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.timeMs = Math.max(this.timeMs, next.at);
      next.callback();
    }
    this.timeMs = end;
    await settle();
  }
}

/** Lets everything that needs no timer happen. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve));
}

type Listener = (event: { data?: unknown; code?: number; reason?: string }) => void;

export interface FakeServer {
  readonly WebSocket: unknown;
  readonly sockets: FakeSocket[];
  /** Every message as its requests, over all sockets. */
  readonly messages: SessionRequest[][];
  readonly stored: Map<string, Uint8Array>;
  /** Answers of this server; undefined = no answer. */
  answer: (request: SessionRequest) => SessionAnswer | undefined;
  accepts: boolean;
}

export class FakeSocket {
  binaryType = "blob";
  readonly url: string;
  readonly protocols: unknown;
  readonly #server: FakeServer;
  readonly #listeners = new Map<string, Listener[]>();
  isClosed = false;

  constructor(server: FakeServer, url: string, protocols: unknown) {
    this.#server = server;
    this.url = url;
    this.protocols = protocols;
    setImmediate(() => this.emit(server.accepts ? "open" : "error", {}));
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  emit(type: string, event: Parameters<Listener>[0]): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }

  send(data: Uint8Array): void {
    const requests = readRequests(data);
    this.#server.messages.push(requests);
    const answers = requests.map((request) => this.#server.answer(request)).filter((answer) => answer !== undefined);
    setImmediate(() => this.reply(answers));
  }

  reply(answers: readonly SessionAnswer[]): void {
    if (this.isClosed || answers.length === 0) return;
    const writer = new ByteWriter();
    for (const answer of answers) writeAnswer(writer, answer);
    this.emit("message", { data: writer.take().buffer });
  }

  close(): void {
    this.isClosed = true;
  }

  /** The connection breaks. */
  drop(): void {
    this.isClosed = true;
    this.emit("close", { code: 1006 });
  }
}

export function clockAt(counter: number): Clock {
  return { vector: counter > 0 ? [{ actor: 4097, counter }] : [], dots: [], time: counter };
}

export function fakeServer(): FakeServer {
  const stored = new Map<string, Uint8Array>();
  let counter = 0;
  const server: FakeServer = {
    sockets: [],
    messages: [],
    stored,
    accepts: true,
    WebSocket: class extends FakeSocket {
      constructor(url: string, protocols: unknown) {
        super(server, url, protocols);
        server.sockets.push(this);
      }
    },
    answer: ({ id, op, key, value }) => {
      if (op === "ping") return { id, kind: "pong" };
      if (op === "get") {
        const held = stored.get(key);
        return held
          ? { id, kind: "value", clock: clockAt(counter), value: held }
          : { id, kind: "notFound", clock: clockAt(0) };
      }
      if (op === "put") stored.set(key, value!.slice());
      else stored.delete(key);
      return { id, kind: "written", clock: clockAt(++counter) };
    },
  };
  return server;
}

/** A fetch that answers from a list, one entry a call: `[status, body]`, or an Error to fail with. */
export function fakeFetch(answers: readonly (readonly [number, unknown, Record<string, string>?] | Error)[]) {
  const calls: { url: string; method: string; headers: Record<string, string>; body: string | undefined }[] = [];
  const fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const { method = "GET", headers, body } = init;
    calls.push({ url, method, headers: headers as Record<string, string>, body: body as string | undefined });
    const answer = answers[Math.min(calls.length, answers.length) - 1]!;
    if (answer instanceof Error) throw answer;
    const [status, json, extra] = answer;
    return new Response(typeof json === "string" ? json : JSON.stringify(json), { status, headers: extra ?? {} });
  };
  return { fetch, calls };
}

export const success = (data: unknown) => ({
  status: "success",
  message: "ok",
  data,
  timestamp: "2026-11-30T00:00:00.000Z",
});
export const failure = (code: string, details = {}) => ({ status: "error", code, message: `it is ${code}`, details });
