// Searches of builds against each other on a busy machine, in turns, judged by the server's CPU a search (versus.mjs does it for key-value).
// `--builds a,b`: checkouts that have been built; the first is the one that others are compared with. Options: --count N rows (50 000), --data DIR,
// --seconds N of a turn, --rounds N.

import { resolve } from "node:path";
import { openHouse } from "./lib/vector-house.mjs";

const IN_FLIGHT = 16;
const DIMENSION = 128;
const ITEMS = {
  http: { connections: IN_FLIGHT },
  session: { kind: "searchSession", inFlight: IN_FLIGHT },
};
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

export async function runVersus({ builds, data, count = 50_000, seconds, rounds, cpuProfile }) {
  const spec = { data, count, dimension: DIMENSION };
  const houses = [];
  try {
    for (const build of builds) {
      const house = await openHouse({ spec, record: {}, build: resolve(build), cpuProfile });
      houses.push({ build, house, cpu: { http: [], session: [] } });
      await house.ingest({ to: count });
      await house.rest();
      const { memoryBytes } = await house.status();
      console.error(
        `${build}: ${Math.round(house.memoryBytes / count)} bytes a row, ${Math.round(memoryBytes / count)} its own`,
      );
    }
    for (let round = 0; round <= rounds; round++) {
      for (const { house, cpu } of houses) {
        for (const [item, ask] of Object.entries(ITEMS)) {
          const result = await house.search({ ...ask, seconds });
          if (result.errors > 0) throw new Error(`${item}: ${result.errors} failed, first: ${result.firstError}`);
          if (round > 0) cpu[item].push({ us: result.cpuMs * 1000, p50: result.p50Ms, perSecond: result.perSecond }); // the first warms up
        }
      }
    }
    return Object.keys(ITEMS).flatMap((item) => print(item, houses));
  } finally {
    for (const { house } of houses) await house.dispose();
  }
}

function print(item, houses) {
  let first;
  return houses.map(({ build, cpu }) => {
    const us = median(cpu[item].map((one) => one.us));
    first ??= us;
    const perSecond = median(cpu[item].map((one) => one.perSecond));
    const each = cpu[item].map((one) => one.us.toFixed(0)).join(" ");
    console.log(
      `${item.padEnd(8)} ${us.toFixed(0)} µs of CPU a search (${(us / first).toFixed(3)} x), ${perSecond.toFixed(0)}/s  ${build}  [${each}]`,
    );
    return { id: `versus.${item}.${build}`, value: us, unit: "µs", ratio: us / first, ok: true };
  });
}
