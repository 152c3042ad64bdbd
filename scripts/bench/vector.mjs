// `npm run bench -- vector [--only kernel,ivf,kernel-workerd,serve,wide,filters,resplit,curve,large,versus] [--count N] [--data DIR] [--contests id,id]`: the vector engine.

import { runCurve } from "./vector-curve.mjs";
import { runFilters } from "./vector-filters.mjs";
import { runIvf } from "./vector-ivf.mjs";
import { runKernel } from "./vector-kernel.mjs";
import { runKernelWorkerd } from "./vector-kernel-workerd.mjs";
import { runLarge } from "./vector-large.mjs";
import { runResplit } from "./vector-resplit.mjs";
import { runServe, runWide } from "./vector-serve.mjs";
import { runVersus } from "./vector-versus.mjs";

const PARTS = {
  kernel: runKernel,
  ivf: runIvf,
  "kernel-workerd": runKernelWorkerd,
  serve: runServe,
  wide: runWide,
  filters: runFilters,
  resplit: runResplit,
  curve: runCurve,
  large: runLarge,
  versus: runVersus,
};

/** They take an hour, or compare what there are several of. */
const BY_HAND = ["curve", "large", "versus"];

export async function run(options) {
  const wanted = options.only ?? Object.keys(PARTS).filter((part) => !BY_HAND.includes(part));
  const unknown = wanted.find((part) => !Object.hasOwn(PARTS, part));
  if (unknown !== undefined) {
    console.error(`--only ${unknown}: which of ${Object.keys(PARTS).join(", ")}?`);
    return 2;
  }
  const results = [];
  for (const part of wanted) results.push(...(await PARTS[part](options)));
  if (options.json) {
    const lines = results.map(({ id, value, unit, ratio, target, ok }) => ({ id, value, unit, ratio, target, ok }));
    console.log(JSON.stringify({ suite: "vector", results: lines }));
  }
  return results.every(({ ok }) => ok) ? 0 : 1;
}
