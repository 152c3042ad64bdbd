// The short form of `npm run crash -- --config`.
import { expect, it } from "vitest";
import { ConfigCrash } from "../../scripts/crash/config/run.ts";

it("[CF-220] kill -9 under writes with watches, leases, locks and webhooks: nothing is lost, doubled, early or late", async () => {
  const run = new ConfigCrash({ writes: 600, kills: 2, seed: 5, lanes: 16 });
  const { problems, ...counts } = await run.run();
  console.log(JSON.stringify(counts));
  expect(problems).toEqual([]);
  expect(counts).toMatchObject({ kills: 2 });
  expect(counts.acknowledged).toBeGreaterThanOrEqual(600);
  expect(counts.leasesEnded).toBeGreaterThan(1);
  expect(counts.locks).toBeGreaterThan(2);
  expect(counts.webhookRequests).toBeGreaterThan(2);
});
