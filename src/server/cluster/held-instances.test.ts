import { existsSync, mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Child } from "./child.ts";
import { isHeld, startInstance, stopInstance } from "./held-instances.ts";

it("[CL-142] an instance that is stopped by name is not started before it is started by name", async () => {
  const dir = mkdtempSync(join(tmpdir(), "jade-held-"));
  mkdirSync(join(dir, "z1"));
  await stopInstance(dir, "z1");
  expect(isHeld(dir, "z1")).toBe(true);
  const lines: string[] = [];
  const told: string[] = [];
  const child = new Child({
    ...{ name: "z1", args: () => ["--version"], env: () => process.env, isHeld: () => isHeld(dir, "z1") },
    onLine: (line) => lines.push(line),
    report: (line) => told.push(line),
  });
  child.start();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(child.pid).toBeUndefined();
  startInstance(dir, "z1");
  while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await stopInstance(dir, "z1");
  while (!told.at(-1)?.endsWith("and is held")) await new Promise((resolve) => setTimeout(resolve, 10));
  const ran = lines.length;
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(lines).toHaveLength(ran);
  await child.stop();
});

it("[CL-142] an instance that there is not is named", async () => {
  const dir = mkdtempSync(join(tmpdir(), "jade-held-"));
  await expect(stopInstance(dir, "z9")).rejects.toThrow('there is no instance "z9"');
  expect(() => startInstance(dir, "../z1")).toThrow('there is no instance "../z1"');
  expect(existsSync(join(dir, "z9.held"))).toBe(false);
});
