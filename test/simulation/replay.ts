// A failing seed as people get to see it: cut down to the events that matter, with the words that run exactly this again.

import { type RunResult, runSchedule } from "./random-run.ts";
import type { MakeSabotage } from "./sabotage.ts";
import { describe, makeSchedule, only } from "./schedule.ts";
import { shrink } from "./shrink.ts";

const NOTHING: MakeSabotage = () => ({});

/** Runs the events `ids` of a seed's schedule, or all. */
export function replay(seed: number, ids?: readonly number[], makeSabotage = NOTHING): Promise<RunResult> {
  const schedule = makeSchedule(seed);
  return runSchedule(ids ? only(schedule, ids) : schedule, { sabotage: makeSabotage() });
}

export interface Report {
  readonly ids: readonly number[];
  readonly eventCount: number;
  readonly tries: number;
  readonly text: string;
}

/** Shrinks a failing seed and tells its story. Throws when the seed does not fail. */
export async function explain(seed: number, makeSabotage = NOTHING): Promise<Report> {
  const schedule = makeSchedule(seed);
  const fails = async (ids: readonly number[]): Promise<boolean> => {
    const { problems } = await runSchedule(only(schedule, ids), { sabotage: makeSabotage(), traced: false });
    return problems.length > 0;
  };
  const all = schedule.events.map((event) => event.id);
  if (!(await fails(all))) throw new Error(`seed ${seed} does not fail`);
  const { items: ids, tries } = await shrink(all, fails);
  const { trace, problems } = await replay(seed, ids, makeSabotage);
  const { nodeCount, replicationFactor, policy } = schedule;
  const text = [
    `seed ${seed}: ${nodeCount} nodes, replication factor ${replicationFactor}, ${policy}; ${ids.length} of ${all.length} events are enough`,
    ...only(schedule, ids).events.map((event) => `  ${describe(event)}`),
    "what happens, in ms of virtual time:",
    ...trace.map((line) => `  ${line}`),
    ...problems.map((problem) => `WRONG: ${problem}`),
    `again: npm run simulate -- --replay ${seed}:${ids.join(",")}`,
  ].join("\n");
  return { ids, eventCount: all.length, tries, text };
}
