// Values of 1 MiB, many at once: each is stored and read whole or refused, and memory stays bounded.

import { createHash } from "node:crypto";
import { atLeast, atMost, shown, tenantKey, watchMemory } from "./lib/tools.mjs";

const PARALLEL = 128;
const VALUES = 512;
const VALUE_BYTES = 1024 * 1024;
const MEMORY_PEAK_MIB = 3500;

const digest = (text) => createHash("sha256").update(text).digest("hex");
const textOf = (index) =>
  `"${String(index)
    .padStart(8, "0")
    .repeat((VALUE_BYTES - 2) / 8)}"`;

/** Until Retry-After, give or take half of it: clients that come back together are refused together. */
function waitAsTold(response) {
  const seconds = Number(response.headers.get("retry-after") ?? 1);
  return new Promise((resolve) => setTimeout(resolve, seconds * (500 + Math.random() * 1000)));
}

/** Runs `work(index)` for all indexes, so many at a time. */
async function inParallel(count, parallel, work) {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: parallel }, lane));
}

export async function largeValues({ server, note }) {
  const apiKey = await tenantKey(server);
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const memory = watchMemory(server);
  const beforeMiB = memory.nowMiB();
  const counts = { stored: 0, refused: 0, wrong: 0, otherPut: 0, otherGet: 0, firstOther: "" };
  const stored = new Set();
  const beganMs = performance.now();
  await inParallel(VALUES, PARALLEL, async (index) => {
    for (let attempt = 0; attempt < 50; attempt++) {
      const body = `{"key":"v-${index}","value":${textOf(index)}}`;
      const response = await fetch(`${server.url}/v1/key-value`, { method: "POST", headers, body });
      const text = await response.text();
      if (response.ok) {
        counts.stored++;
        stored.add(index);
        return;
      }
      if (response.status !== 503 || !response.headers.get("retry-after")) {
        counts.otherPut++;
        counts.firstOther ||= text.slice(0, 300);
        return;
      }
      counts.refused++;
      await waitAsTold(response);
    }
  });
  const putSeconds = (performance.now() - beganMs) / 1000;
  const putPeakMiB = memory.peakMiB();
  note(`${counts.stored} stored in ${putSeconds.toFixed(1)} s, peak ${putPeakMiB} MiB`);
  await inParallel(VALUES * 2, PARALLEL, async (at) => {
    const index = at % VALUES;
    if (!stored.has(index)) return;
    for (let attempt = 0; attempt < 50; attempt++) {
      const response = await fetch(`${server.url}/v1/key-value?key=v-${index}`, { headers });
      const text = await response.text();
      if (response.status === 503) {
        counts.refused++;
        await waitAsTold(response);
        continue;
      }
      if (!response.ok) {
        counts.otherGet++;
        counts.firstOther ||= text.slice(0, 300);
      } else {
        const start = text.indexOf('"value":') + 8;
        const expected = textOf(index);
        if (digest(text.slice(start, start + expected.length)) !== digest(expected)) counts.wrong++;
      }
      return;
    }
  });
  const peakMiB = memory.peakMiB();
  memory.stop();
  if (counts.firstOther) note(`first other answer: ${counts.firstOther}`);
  return [
    atLeast(`values of 1 MiB stored, ${PARALLEL} at a time`, counts.stored, VALUES),
    shown("MiB per second stored (three copies each)", Number((VALUES / putSeconds).toFixed(1))),
    shown("refused with Retry-After and sent again", counts.refused),
    atMost("other failures", counts.otherPut + counts.otherGet, 0),
    atMost("values read back that differ", counts.wrong, 0),
    shown("memory before, MiB", beforeMiB),
    atMost("peak memory, MiB", peakMiB, MEMORY_PEAK_MIB),
  ];
}
