// Three times what the server can do, without waiting for answers: it must refuse the rest at once, go on working, and not grow.

import { randomBytes } from "node:crypto";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { readAnswers, writeRequest } from "../../src/wire/session.ts";
import { seededRandom, valueText } from "../bench/lib/keys.mjs";
import { settle } from "../bench/lib/loader.mjs";
import { openSession, sessionLoad } from "../bench/lib/session-load.mjs";
import { atLeast, atMost, recorder, shown, tenantKey, watchMemory } from "./lib/tools.mjs";

const SESSIONS = 64;
const TICK_MS = 10;
const VALUE_BYTES = 500;
const KEYS = 50_000;
const encoder = new TextEncoder();

/** Sends `perSecond` puts over all sessions whatever comes back; counts the answers by kind. */
async function openLoop({ sessions, perSecond, seconds, nextKey, value }) {
  const counts = { sent: 0, written: 0, refused: 0, other: 0, firstOther: undefined };
  const latenciesMs = [];
  const writer = new ByteWriter(64 * 1024);
  const prefix = randomBytes(8);
  const states = sessions.map((session) => ({ session, began: new Map(), nextId: 0 }));
  for (const state of states) {
    state.session.onMessage = (payload) => {
      const nowMs = performance.now();
      for (const answer of readAnswers(payload)) {
        const beganMs = state.began.get(answer.id);
        state.began.delete(answer.id);
        if (answer.kind === "written") {
          counts.written++;
          latenciesMs.push(nowMs - beganMs);
        } else if (answer.code === "overloaded" || answer.code === "rateLimited") counts.refused++;
        else {
          counts.other++;
          counts.firstOther ??= JSON.stringify(answer);
        }
      }
    };
  }
  const beganMs = performance.now();
  await new Promise((resolve) => {
    const timer = setInterval(() => {
      const nowMs = performance.now();
      const due = Math.min(seconds, (nowMs - beganMs) / 1000) * perSecond;
      let index = 0;
      const share = Math.ceil((due - counts.sent) / states.length);
      for (const state of states) {
        for (let i = 0; i < share && counts.sent < due; i++) {
          const id = state.nextId++;
          const writeId = Buffer.alloc(16);
          writeId.set(prefix);
          writeId.writeUInt32LE(counts.sent, 8);
          writeId.writeUInt32LE(index, 12);
          writeRequest(writer, { id, op: "put", key: nextKey(), writeId, value });
          state.began.set(id, nowMs);
          counts.sent++;
        }
        if (writer.length > 0) state.session.send(writer.take());
        writer.reset();
        index++;
      }
      if (nowMs - beganMs >= seconds * 1000) {
        clearInterval(timer);
        resolve();
      }
    }, TICK_MS);
  });
  const inTime = counts.written / ((performance.now() - beganMs) / 1000);
  // What is still under way is answered, too: no request is left hanging.
  const end = performance.now() + 10_000;
  const unanswered = () => states.reduce((sum, state) => sum + state.began.size, 0);
  while (unanswered() > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
  return { ...counts, perSecond: inTime, unanswered: unanswered(), latenciesMs: latenciesMs.sort((a, b) => a - b) };
}

export async function saturation({ server, seconds, note }) {
  const apiKey = await tenantKey(server);
  const random = seededRandom(3);
  const nextKey = () => `k-${Math.floor(random() * KEYS)}`;
  const text = valueText(VALUE_BYTES, random);
  const timing = recorder(seconds, 2);
  const load = { port: server.port, apiKey, sessions: SESSIONS, inFlight: 16, op: "put", nextKey, valueText: text };
  const peak = (await sessionLoad({ ...load, recorder: timing })).result();
  note(`closed loop: ${Math.round(peak.perSecond)} puts/s, p99 ${peak.p99Ms.toFixed(0)} ms`);

  const memory = watchMemory(server);
  const beforeMiB = memory.nowMiB();
  const sessions = await Promise.all(
    Array.from({ length: SESSIONS }, () => openSession({ port: server.port, apiKey })),
  );
  const value = encoder.encode(text);
  const offered = peak.perSecond * 3;
  const flood = await openLoop({ sessions, perSecond: offered, seconds, nextKey, value });
  const p99Ms = flood.latenciesMs[Math.floor(flood.latenciesMs.length * 0.99)] ?? Number.NaN;
  note(`offered ${Math.round(offered)}/s: ${flood.written} written, ${flood.refused} refused, ${flood.other} other`);
  if (flood.firstOther) note(`first other: ${flood.firstOther}`);
  const firstMiB = memory.peakMiB();
  const again = await openLoop({ sessions, perSecond: offered, seconds, nextKey, value });
  memory.stop();
  for (const session of sessions) session.close();
  await settle(server.groupId);
  const after = (await sessionLoad({ ...load, recorder: recorder(seconds, 1) })).result();
  return [
    shown("peak puts per second (closed loop)", Math.round(peak.perSecond)),
    shown("offered per second", Math.round(offered)),
    atLeast("goodput while offered 3 x / peak", Number((flood.perSecond / peak.perSecond).toFixed(2)), 0.8),
    atLeast("refused with `overloaded`", flood.refused, 1),
    atMost("neither written nor refused", flood.other + again.other, 0),
    atMost("never answered", flood.unanswered + again.unanswered, 0),
    shown("p99 of what was written, ms", Math.round(p99Ms)),
    shown("memory before, MiB", beforeMiB),
    atMost("peak memory of a second flood / the first", Number((memory.peakMiB() / firstMiB).toFixed(2)), 1.15),
    atLeast("throughput after / before", Number((after.perSecond / peak.perSecond).toFixed(2)), 0.8),
  ];
}
