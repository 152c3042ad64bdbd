// Runs every program of docs/examples as it stands, against a real server, and holds it to what it prints.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { RealEtcd, whyNoEtcd } from "./etcd/real-etcd.ts";
import { EXAMPLES, Examples, TIMED } from "./examples-support.ts";

let examples: Examples;
beforeAll(async () => {
  examples = await Examples.start();
});
afterAll(() => examples?.server.dispose());

/** What the Kubernetes example prints, wherever it runs. `conflicts` depends on who came first. */
const KUBERNETES = {
  ...{ pods: 300, isRefused: true, pages: 3, areWhole: true, counter: 80, equals: true, misfits: 0 },
  ...{ isCompacted: true, mustRelist: true },
};

it("[CF-67] [CF-237] a Kubernetes API server's requests: no lost update, no torn list, caches that equal lists", async () => {
  const { conflicts, ...result } = await examples.printed("kubernetes-storage.mjs", {
    ...{ PODS: "300", ETCD_URL: `http://${examples.grpc}`, ETCD_USER: "examples", ETCD_PASSWORD: examples.apiKey },
  });
  expect(result).toEqual(KUBERNETES);
  expect(conflicts).toBeGreaterThan(0);
});

it.skipIf(whyNoEtcd() !== undefined)("… and prints the same on etcd", async () => {
  const etcd = await RealEtcd.start();
  try {
    expect(await examples.printed("kubernetes-storage.mjs", { PODS: "300", ETCD_URL: etcd.url })).toMatchObject(
      KUBERNETES,
    );
  } finally {
    await etcd.stop();
  }
});

it("proxies are given snapshots of one version, and keep the last good one", async () => {
  const { pushMs, ...result } = await examples.printed("envoy-xds.mjs");
  expect(result).toEqual({
    ...{ first: { clusters: 1, routes: 1 }, isWhole: true, target: "canary", kept: 2, refusals: 1, now: 3, nonces: 4 },
  });
  expect(pushMs).toBeLessThan(5000);
});

it("users keep their variant of an A/B test while its shares grow", async () => {
  const { begun, grown, ended, ...result } = await examples.printed("ab-test.mjs");
  expect(result).toEqual({ stays: true, isRefused: true, isSticky: true });
  expect(Math.abs(begun.a - 1000) + Math.abs(begun.b - 1000)).toBeLessThan(300);
  expect(Math.abs(grown.a - 5000) + Math.abs(grown.b - 3000)).toBeLessThan(500);
  expect(ended).toEqual({ b: 10_000 });
});

it("an inventory is not oversold under a lock, and is without", async () => {
  const result = { buyers: 50, stock: 20, sold: 20, left: 0, oversold: 0, tokensGrow: true };
  expect(await examples.printed("inventory-lock.mjs")).toEqual(result);
  expect((await examples.printed("inventory-lock.mjs", { LOCK: "no" })).oversold).toBeGreaterThan(0);
});

it("ZooKeeper's recipe keeps the order, wakes one at a time, and bears a death in the line", async () => {
  const { wakes, ...rest } = await examples.printed("sequential-ephemeral.mjs");
  expect(rest).toEqual({ members: 10, worked: 9, inOrder: true, mostOwners: 1 });
  // Eight releases each wake one, the death one who looks again; a herd would be 45. Who looks late enough need not wait.
  expect(wakes).toBeGreaterThan(0);
  expect(wakes).toBeLessThanOrEqual(9);
});

it("flags roll out to a growing share", async () => {
  const { few, half, all, none, stays } = await examples.printed("feature-flags.mjs");
  expect({ all, none, stays }).toEqual({ all: 1000, none: 0, stays: true });
  expect(few).toBeGreaterThan(20);
  expect(few).toBeLessThan(100);
  expect(Math.abs(half - 500)).toBeLessThan(100);
});

it("credentials are rotated without a refused login", async () => {
  expect(await examples.printed("credentials-rotation.mjs")).toEqual({
    ...{ rotations: 3, accepted: ["secret-4"], logins: true, refused: 0 },
  });
});

it("a circuit breaker is opened by one for all, until its lease ends", async () => {
  const { openMs, ...rest } = await examples.printed("circuit-breaker.mjs");
  expect(rest).toEqual({ closedAtFirst: true, openedBy: 1 });
  expect(openMs).toBeGreaterThan(1000);
  expect(openMs).toBeLessThan(6000);
});

it("maintenance begins when all have stopped", async () => {
  expect(await examples.printed("maintenance-mode.mjs")).toEqual({ stopped: 10, takenMeanwhile: 0, working: 10 });
});

it("every example is run here and listed", () => {
  const files = readdirSync(EXAMPLES).filter((file) => file.endsWith(".mjs"));
  expect([...examples.run, ...Object.values(TIMED)].sort()).toEqual(files.sort());
  const page = readFileSync(join(EXAMPLES, "README.md"), "utf8");
  for (const file of files) expect(page).toContain(`[${file}](${file})`);
});
