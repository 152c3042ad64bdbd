// 10 000 seeds in CI, by the command that runs them by hand (npm run simulate), on all cores and behind everything else.
// JADE_SIM_SEEDS=N runs N, JADE_SIM_FROM=S begins at S.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const SEEDS = Number(process.env.JADE_SIM_SEEDS ?? 10_000);
const FROM = Number(process.env.JADE_SIM_FROM ?? 1);
const COMMAND = fileURLToPath(new URL("../../scripts/simulate.mjs", import.meta.url));

async function simulate(...argv: string[]): Promise<{ code: number; output: string }> {
  const options = { maxBuffer: 64 * 1024 * 1024 };
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [COMMAND, "--background", ...argv], options);
    return { code: 0, output: stdout };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: stdout + stderr };
  }
}

describe("many seeds", () => {
  it(`[RP-1] [RP-5] [RP-6] [RP-7] [RP-10] [RP-12] [RP-35] hold over ${SEEDS}`, { timeout: 3_600_000 }, async () => {
    const { code, output } = await simulate("--seeds", String(SEEDS), "--from", String(FROM));
    if (code !== 0) expect.fail(output);
    expect(output).toContain(`${SEEDS} seeds from ${FROM} in `);
  });

  it("a planted mistake is found, cut down, told, and fails again by the words that are printed", async () => {
    const name = "W-1: one replica acknowledges what it does not keep";
    const found = await simulate("--seeds", "300", "--sabotage", name, "--workers", "2");
    expect(found.code).toBe(0);
    const again = /again: npm run simulate -- --replay (\S+)/.exec(found.output);
    expect(found.output).toContain("WRONG: ");
    const replayed = await simulate("--replay", again![1]!, "--sabotage", name);
    expect(replayed.code).toBe(1);
    expect(replayed.output).toContain("WRONG: ");
    expect((await simulate("--replay", again![1]!)).code).toBe(0);
  });

  it("what cannot be run is refused by name", async () => {
    expect(await simulate("--seeds", "many")).toMatchObject({
      code: 2,
      output: expect.stringContaining("--seeds is many"),
    });
    expect(await simulate("--sabotage", "none such")).toMatchObject({
      code: 2,
      output: expect.stringContaining("W-1"),
    });
  });
});
