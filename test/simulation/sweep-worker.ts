// Runs the seeds it is sent, in a thread of its own. See sweep.ts.
import { parentPort } from "node:worker_threads";
import type { SweepOrder, SweepReport } from "./sweep.ts";
import { WORLDS } from "./worlds.ts";

parentPort!.on("message", async ({ world, from, count, sabotage }: SweepOrder) => {
  const failed: SweepReport["failed"] = [];
  const counts: Record<string, number> = {};
  let done = 0;
  for (let seed = from; seed < from + count; seed++) {
    const result = await WORLDS[world]!.run(seed, sabotage);
    done++;
    for (const [name, value] of Object.entries(result.counts)) counts[name] = (counts[name] ?? 0) + value;
    if (result.problems.length === 0) continue;
    failed.push({ seed, problem: result.problems[0]! });
    // Of a planted mistake the first seed is enough.
    if (sabotage !== undefined) break;
  }
  parentPort!.postMessage({ from, done, failed, counts } satisfies SweepReport);
});
