// Changed and random frames over WebSocket sessions, beside a session that does nothing wrong.
// Guarantees: each bad session is answered or closed with a code of RFC 6455; the good one is served throughout.
import { WebSocket } from "ws";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { readAnswers, type SessionRequest, writeRequest } from "../../src/wire/session.ts";
import { EVIL_TEXTS } from "./mutate.ts";
import { Choices } from "./random.ts";
import { administer } from "./world.ts";

const DEADLINE_MS = 10_000;
const LANES = 4;
const FRAMES_PER_SESSION = 20;
/** Unsupported data, invalid payload, policy, too big. 1002: ws's own frames are sound, so no protocol error is expected. */
const CLOSE_CODES: ReadonlySet<number> = new Set([1003, 1007, 1008, 1009]);

export interface SessionFuzzResult {
  readonly frames: number;
  readonly sessions: number;
  readonly answers: number;
  readonly closes: Readonly<Record<string, number>>;
  readonly witnessed: number;
  readonly problems: readonly string[];
}

interface Counts {
  frames: number;
  sessions: number;
  answers: number;
  witnessed: number;
  readonly closes: Record<string, number>;
  readonly problems: string[];
}

const encoder = new TextEncoder();

function requestOf(choices: Choices, id: number): SessionRequest {
  const op = choices.pick(["put", "get", "delete", "ping", "put"] as const);
  const key = choices.pick(["s1", "s2", "", "k".repeat(1024), "k".repeat(1025), "\u0000", "é"]);
  const writeId = Uint8Array.from({ length: 16 }, () => choices.below(256));
  const dots = [{ actor: choices.pick([4097, 8193, 1, 0, 2 ** 40]), counter: choices.pick([1, 7, 2 ** 52]) }];
  const clock = choices.chance(0.2) ? { vector: dots, dots: [], time: choices.pick([0, 2 ** 52]) } : undefined;
  const consistency = choices.pick([undefined, "one", "quorum", "all"] as const);
  const common = { id, key, consistency, clock, isRetry: choices.chance(0.1) };
  const bodyHash = choices.chance(0.1) ? Uint8Array.from({ length: 8 }, () => choices.below(256)) : undefined;
  return { ...common, op, writeId, bodyHash, value: encoder.encode(choices.pick(EVIL_TEXTS)) };
}

function frameOf(choices: Choices): Uint8Array {
  const writer = new ByteWriter(512);
  for (let i = 1 + choices.below(4); i > 0; i--) writeRequest(writer, requestOf(choices, i));
  const frame = writer.take();
  if (choices.chance(0.5)) return frame;
  const at = choices.below(frame.length);
  return choices.weighted<() => Uint8Array>([
    [40, () => frame.map((byte, i) => (i === at ? choices.below(256) : byte))],
    [20, () => frame.subarray(0, at)],
    [20, () => Uint8Array.from([...frame.subarray(0, at), 0xff, 0xff, 0xff, 0x7f, ...frame.subarray(at)])],
    [10, () => Uint8Array.from({ length: choices.below(200) }, () => choices.below(256))],
    [10, () => Uint8Array.from([...frame, ...frame.subarray(at)])],
  ])();
}

function opened(url: string, token: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/session`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return new Promise((resolve, reject) => {
    socket.once("open", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** A ping and its pong over a sound session. */
function pong(socket: WebSocket): Promise<boolean> {
  const writer = new ByteWriter(16);
  writeRequest(writer, { id: 0xfffffff0, op: "ping", key: "" });
  return new Promise((resolve) => {
    const timer = setTimeout(() => end(false), DEADLINE_MS);
    const listen = (data: Buffer): void => {
      if (readAnswers(data).some(({ kind }) => kind === "pong")) end(true);
    };
    const closed = (): void => end(false);
    const end = (ok: boolean): void => {
      clearTimeout(timer);
      socket.off("message", listen).off("close", closed);
      resolve(ok);
    };
    socket.on("message", listen).once("close", closed);
    socket.send(writer.view());
  });
}

async function badSession(socket: WebSocket, choices: Choices, counts: Counts): Promise<void> {
  counts.sessions++;
  let closeCode: number | undefined;
  const closed = new Promise<void>((resolve) => {
    socket.once("close", (code) => {
      closeCode = code;
      resolve();
    });
  });
  socket.on("error", () => undefined);
  socket.on("message", (data: Buffer) => {
    try {
      counts.answers += readAnswers(data).length;
    } catch (error) {
      counts.problems.push(`an answer frame cannot be read: ${error}`);
    }
  });
  for (let i = 0; i < FRAMES_PER_SESSION && socket.readyState === WebSocket.OPEN; i++) {
    counts.frames++;
    if (choices.chance(0.02)) socket.send("text");
    else socket.send(frameOf(choices));
    if (choices.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
  }
  // Behind whatever came: an answer, or the session's end.
  const isServed =
    socket.readyState === WebSocket.OPEN && (await Promise.race([pong(socket), closed.then(() => false)]));
  if (isServed) {
    socket.close();
    return;
  }
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([closed, new Promise<void>((resolve) => (timer = setTimeout(resolve, DEADLINE_MS)))]);
  clearTimeout(timer);
  const name = String(closeCode);
  counts.closes[name] = (counts.closes[name] ?? 0) + 1;
  if (closeCode === undefined || !CLOSE_CODES.has(closeCode)) counts.problems.push(`a bad session ended with ${name}`);
  socket.terminate();
}

export async function fuzzSessions(options: {
  readonly server: { readonly url: string; readonly rootKey: string };
  readonly seed: number;
  readonly seconds: number;
  readonly report: (line: string) => void;
}): Promise<SessionFuzzResult> {
  const { server, seed, seconds, report } = options;
  const tenant = await administer(server, { method: "POST", path: "/v1/tenants", body: { tenantId: "fuzz-sessions" } });
  const token = String(tenant["apiKey"]);
  const counts: Counts = { frames: 0, sessions: 0, answers: 0, witnessed: 0, closes: {}, problems: [] };
  const witness = await opened(server.url, token);
  const end = Date.now() + seconds * 1000;
  const watch = (async () => {
    while (Date.now() < end) {
      if (!(await pong(witness))) return void counts.problems.push("the sound session was not served");
      counts.witnessed++;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const lanes = Array.from({ length: LANES }, async (_, lane) => {
    for (let n = 0; Date.now() < end && counts.problems.length < 20; n++) {
      const choices = new Choices(seed * 1009 + lane * 100_003 + n);
      await badSession(await opened(server.url, token), choices, counts);
    }
  });
  await Promise.all([watch, ...lanes]);
  witness.close();
  for (const problem of counts.problems) report(`PROBLEM  session: ${problem}`);
  return counts;
}
