// The fail points of storage as calls to a crash harness: it answers, or kills the process while the object waits.
// Guarantees: without the binding (always, but in the crash tests) there is nothing at all. Because the platform's output gate holds
// the call back until what was written is durable, the harness hears of a point only when the steps before it are on disk.
import type { AtFailPoint } from "../src/storage/state.ts";
import type { Env } from "./env.ts";

export function failPointsOf(env: Env, nodeId: string): AtFailPoint | undefined {
  const harness = env.FAIL_POINTS;
  if (!harness) return undefined;
  return async (point) => {
    const response = await harness.fetch(`http://fail-points/${nodeId}/${point}`);
    await response.arrayBuffer();
  };
}
