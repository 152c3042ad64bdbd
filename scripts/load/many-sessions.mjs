// Two thousand sessions open at once: each works, idle ones cost memory only, and a busy client does not feel them.

import { ByteWriter } from "../../src/wire/bytes.ts";
import { readAnswers, writeRequest } from "../../src/wire/session.ts";
import { seededRandom, valueText } from "../bench/lib/keys.mjs";
import { openSession, sessionLoad } from "../bench/lib/session-load.mjs";
import { atLeast, atMost, recorder, shown, tenantKey, watchMemory } from "./lib/tools.mjs";

const COUNT = 2000;
const OPENED_AT_ONCE = 100;

/** One get over the session; true when it is answered. */
function ask(session) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 15_000);
    session.onMessage = (payload) => {
      clearTimeout(timer);
      resolve(readAnswers(payload)[0]?.kind === "notFound");
    };
    const writer = new ByteWriter(64);
    writeRequest(writer, { id: 1, op: "get", key: "nothing" });
    session.send(writer.take());
  });
}

export async function manySessions({ server, seconds, note }) {
  const apiKey = await tenantKey(server);
  const random = seededRandom(5);
  const good = {
    port: server.port,
    apiKey,
    sessions: 8,
    inFlight: 8,
    op: "put",
    nextKey: () => `k-${Math.floor(random() * 5000)}`,
    valueText: valueText(500, random),
  };
  const alone = (await sessionLoad({ ...good, recorder: recorder(seconds, 1) })).result();
  const memory = watchMemory(server);
  const beforeMiB = memory.nowMiB();
  const sessions = [];
  const beganMs = performance.now();
  while (sessions.length < COUNT) {
    const opening = Array.from({ length: OPENED_AT_ONCE }, () => openSession({ port: server.port, apiKey }));
    sessions.push(...(await Promise.all(opening)));
  }
  const openMs = performance.now() - beganMs;
  let lost = 0;
  for (const session of sessions) session.onEnd = () => lost++;
  const heldMiB = memory.nowMiB();
  note(`${COUNT} sessions opened in ${(openMs / 1000).toFixed(1)} s, ${heldMiB - beforeMiB} MiB`);
  const first = (await Promise.all(sessions.map(ask))).filter(Boolean).length;
  const among = (await sessionLoad({ ...good, recorder: recorder(seconds, 1) })).result();
  const second = (await Promise.all(sessions.map(ask))).filter(Boolean).length;
  for (const session of sessions) session.close();
  memory.stop();
  return [
    shown("seconds to open 2 000 sessions", Number((openMs / 1000).toFixed(1))),
    atLeast("sessions that answer at once together", first, COUNT),
    atLeast("sessions that answer after the load", second, COUNT),
    atMost("sessions lost", lost, 0),
    atMost("KiB of memory for each session", Math.round(((heldMiB - beforeMiB) * 1024) / COUNT), 256),
    atLeast(
      "throughput of a busy client among them / alone",
      Number((among.perSecond / alone.perSecond).toFixed(2)),
      0.8,
    ),
  ];
}
