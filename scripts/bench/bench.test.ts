// The benchmark's own parts: what it sends, how it cuts answers, what it counts.
// @ts-nocheck: what it tests is plain JavaScript.

import { describe, expect, it } from "vitest";
import { responseLength } from "./lib/http-load.mjs";
import { keyChooser, seededRandom, valueText } from "./lib/keys.mjs";
import { keyOf, watchPlan } from "./lib/kubernetes-load.mjs";
import { Recorder } from "./lib/measure.mjs";
import { MessageReader, messageBytes } from "./lib/session-load.mjs";

describe("http load", () => {
  it("cuts responses by length and by chunks, and waits for the rest", () => {
    const sized = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
    expect(responseLength(Buffer.from(sized))).toBe(sized.length);
    expect(responseLength(Buffer.from(sized.slice(0, -1)))).toBe(0);
    const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    expect(responseLength(Buffer.from(chunked))).toBe(chunked.length);
    expect(responseLength(Buffer.from(chunked.slice(0, -4)))).toBe(0);
  });
});

describe("session load", () => {
  it("cuts messages of every size wherever the stream is cut", () => {
    for (const size of [0, 5, 125, 126, 65535, 65536, 200_000]) {
      const masked = messageBytes(2, Buffer.alloc(size, 7));
      // A server does not mask: drop the mask of zeros and its flag.
      const maskAt = masked.length - size - 4;
      const unmasked = Buffer.concat([masked.subarray(0, maskAt), masked.subarray(maskAt + 4)]);
      unmasked[1] &= 127;
      const reader = new MessageReader();
      const got = [];
      for (const part of [unmasked.subarray(0, 3), unmasked.subarray(3)]) {
        reader.push(part, (opcode, payload) => got.push([opcode, payload.length]));
      }
      expect(got).toEqual([[2, size]]);
    }
  });

  it("joins fragments", () => {
    const reader = new MessageReader();
    const got = [];
    reader.push(Buffer.from([0x02, 1, 65, 0x80, 1, 66]), (opcode, payload) => got.push([opcode, payload.toString()]));
    expect(got).toEqual([[2, "AB"]]);
  });
});

describe("keys and values", () => {
  it("makes JSON texts of the exact size", () => {
    const text = valueText(500, seededRandom(1));
    expect(Buffer.byteLength(text)).toBe(500);
    expect(JSON.parse(text)).toHaveLength(498);
  });

  it("asks for old and new keys half and half, and writes live and fresh ones half and half", () => {
    const share = (next, prefix) =>
      Array.from({ length: 4000 }, next).filter((key) => key.startsWith(prefix)).length / 4000;
    const common = { oldCount: 100, liveCount: 100, newCount: 100, seed: 3, run: 1 };
    expect(share(keyChooser({ ...common, op: "get" }), "old-")).toBeCloseTo(0.5, 1);
    expect(share(keyChooser({ ...common, op: "put", putKeys: "mixed" }), "fresh-")).toBeCloseTo(0.5, 1);
    expect(share(keyChooser({ ...common, op: "put", putKeys: "fresh" }), "fresh-")).toBe(1);
    const first = keyChooser({ ...common, op: "get" });
    const again = keyChooser({ ...common, op: "get" });
    expect(Array.from({ length: 20 }, first)).toEqual(Array.from({ length: 20 }, again));
  });
});

describe("recorder", () => {
  it("counts only what ends inside the window", () => {
    const recorder = new Recorder({ warmupSeconds: 1, seconds: 2 });
    const { startMs, endMs } = recorder;
    recorder.done(startMs - 5, startMs - 1);
    for (let i = 1; i <= 100; i++) recorder.done(startMs, startMs + i);
    recorder.done(endMs - 1, endMs + 1);
    expect(recorder.result(10)).toMatchObject({ count: 100, perSecond: 500, errors: 0 });
    expect(recorder.result().p50Ms).toBeCloseTo(51, 5);
    expect(recorder.result().p99Ms).toBeCloseTo(100, 5);
  });
});

describe("the Kubernetes replay's watches", () => {
  it.each([
    [100, 600],
    [1000, 12_000],
    [1500, 300],
    [15_000, 6000],
  ])("%i watches over %i pods: each change is owed to those whose range holds it", (watches, pods) => {
    const { rangeOf, toldOf } = watchPlan({ watches, pods });
    const ranges = Array.from({ length: watches }, (_, number) => rangeOf(number));
    for (const i of [0, 1, 7, 299, pods >> 1, pods - 1]) {
      const key = keyOf("pods", i);
      const told = ranges.filter((range) => (range.endsWith("/") ? key.startsWith(range) : key === range));
      expect(toldOf(i), key).toBe(told.length);
    }
  });
});
