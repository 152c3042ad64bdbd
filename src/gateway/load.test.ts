// The bounds of one gateway isolate: requests under way, bytes of their bodies, and requests that ended without a word.
import { beforeEach, expect, it } from "vitest";
import { REQUEST_LOST_AFTER_MS } from "./limits.ts";
import { Load } from "./load.ts";

let nowMs = 0;
let counts: string[] = [];
const load = (maxRequests: number, maxBytes = 1000) =>
  new Load({ maxRequests, maxBytes, now: () => nowMs, count: (name) => counts.push(name) });

beforeEach(() => {
  nowMs = 5000;
  counts = [];
});

it("[GW-20] requests beyond the bound are refused, probes are not, and what ends makes room", () => {
  const bound = load(2);
  const [first] = [bound.enter("/v1/key-value"), bound.enter("/v1/key-value")];
  expect(() => bound.enter("/v1/key-value")).toThrow(/2 requests are under way here, the limit is 2/);
  expect(counts).toEqual(['jade_requests_refused_total{bound="requests"}']);
  for (const path of ["/v1/health", "/v1/ready", "/metrics"]) bound.leave(bound.enter(path));
  bound.leave(first!);
  bound.leave(first!);
  expect(bound.requests).toBe(1);
  bound.enter("/v1/key-value");
  expect(() => bound.enter("/v1/key-value")).toThrow(/overloaded|limit is 2/);
});

it("[GW-20] bodies beyond the bound are refused before they are read, and their bytes come back", () => {
  const bound = load(9);
  const [one, two] = [bound.enter("/a"), bound.enter("/a")];
  bound.hold(one!, 600);
  expect(() => bound.hold(two!, 401)).toThrow(/bodies of 600 bytes are under way here, the limit is 1000/);
  bound.hold(two!, 400);
  bound.leave(one!);
  expect(bound.bytes).toBe(400);
  bound.leave(two!);
  expect(bound.bytes).toBe(0);
});

it("[GW-20] requests that were cut off without ending do not fill the bounds for ever", () => {
  const bound = load(2);
  const lost = bound.enter("/a");
  bound.hold(lost, 900);
  nowMs += REQUEST_LOST_AFTER_MS - 1;
  const live = bound.enter("/a");
  expect(() => bound.enter("/a")).toThrow();
  nowMs += 1001;
  const next = bound.enter("/a");
  expect([bound.requests, bound.bytes]).toEqual([2, 0]);
  bound.hold(lost, 50);
  bound.leave(lost);
  expect([bound.requests, bound.bytes]).toEqual([2, 0]);
  bound.leave(live);
  bound.leave(next);
  expect(bound.requests).toBe(0);
});
