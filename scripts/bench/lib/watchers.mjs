// What the watch benchmarks share: processes that watch, one that writes, and how a row looks.

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ByteReader, ByteWriter } from "../../../src/wire/bytes.ts";
import { readConfigAnswer } from "../../../src/wire/config-answers.ts";
import { writeConfigCallBody } from "../../../src/wire/config-requests.ts";
import { readAnswers, writeRequest } from "../../../src/wire/session.ts";
import { openSession } from "./session-load.mjs";

/** The spec's: from commit to the last client. Ms. */
export const TARGET_MS = 100;
/** Between two writes: far enough apart that each finds the server idle. Ms. */
export const PAUSE_MS = 250;
export const LOST_AFTER_MS = 30_000;
export const note = (text) => console.error(text);

/** `script`: watch-load.mjs or crowd-load.mjs. */
export function startWatchers(script) {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), { stdio: "inherit" });
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

/** Writes one key after the other over a session. */
export async function startWriter({ port, apiKey }) {
  const session = await openSession({ port, apiKey });
  let answered;
  session.onMessage = (payload) => {
    for (const answer of readAnswers(payload)) answered(answer);
  };
  return {
    async put(key, valueBytes) {
      const beganMs = performance.timeOrigin + performance.now();
      const value = new TextEncoder().encode(`${beganMs.toFixed(3)} `.padEnd(valueBytes, "x"));
      const body = new ByteWriter();
      writeConfigCallBody(body, { request: { kind: "put", key, value } });
      const writer = new ByteWriter();
      writeRequest(writer, { id: 1, op: "config", key: "default", value: body.view() });
      const answer = await new Promise((resolve) => {
        answered = resolve;
        session.send(writer.take());
      });
      if (answer.kind !== "config" || readConfigAnswer(new ByteReader(answer.body)).kind !== "put")
        throw new Error(`a write failed: ${JSON.stringify(answer)}`);
      return performance.timeOrigin + performance.now() - beganMs;
    },
    close: session.close,
  };
}

export const quantile = (sorted, share) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

/** Asks until something of a run is sure not to come any more. */
export function orLost(taken) {
  let timer;
  const lost = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("a delivery is missing")), LOST_AFTER_MS);
  });
  return Promise.race([taken, lost]).finally(() => clearTimeout(timer));
}

/** Of a value that has to be below its target. */
export function rowOf({ id, title, unit = "ms", value, target, ...more }) {
  return { id, title, unit, target, value, ok: value < target, baseline: target, ratio: value / target, ...more };
}
