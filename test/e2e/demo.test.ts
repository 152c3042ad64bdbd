// The demo is the main job on real input: it must succeed plainly and through crashes.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");

function demo(...args: string[]) {
  const nobody = { JADE_URL: "http://127.0.0.1:9" };
  const env = { ...process.env, ...nobody };
  return spawnSync(process.execPath, ["scripts/demo.mjs", ...args], { cwd: root, encoding: "utf8", env });
}

it("stores every package.json and reads it back byte-identical", () => {
  const { status, stdout, stderr } = demo();
  expect(stderr).not.toContain("FAILED");
  expect(stdout).toContain("ok: nothing lost, nothing doubled");
  expect(status).toBe(0);
});

it("loses and doubles nothing when the server is killed with -9 three times mid-import", () => {
  const { status, stdout, stderr } = demo("--crash");
  expect(stderr).not.toContain("FAILED");
  expect(stdout).toContain("ok: nothing lost, nothing doubled");
  expect(status).toBe(0);
});
