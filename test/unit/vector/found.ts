// What an index found, as data that can be compared.
import type { Found } from "../../../src/vector/index/segment-index.ts";

/** With the slack behind two distances in place of the function that tells it. */
export function asData({ slack, ...found }: Found): unknown {
  return { ...found, slack: slack && [slack(0.5), slack(7)] };
}
