// Filtered searches of one database over HTTP: recall and p99 for shares of the rows from a half to a thousandth, also where the filter
// lets through only rows that are far from the query, and a tree of geo radius, text and $or.
// Options: --count N rows (100 000), --data DIR, --seconds N.

import { buildAll } from "../build.mjs";
import { printLines } from "./lib/report.mjs";
import { openHouse, recallOf } from "./lib/vector-house.mjs";
import { exactNearest, makeRows, metadataOf } from "./lib/vector-rows.mjs";

const K = 10;
const CONNECTIONS = 4;
/** Queries whose exact answer is worked out. */
const JUDGED = 50;
const CELL_MS = 150;
const TREE_MS = 200;
const LEAST_RECALL = 0.95;
const note = (text) => console.error(text);

const EARTH_METERS = 6_371_008.8;
function metersBetween(a, b) {
  const radians = (degrees) => (degrees * Math.PI) / 180;
  const half =
    Math.sin(radians(b.lat - a.lat) / 2) ** 2 +
    Math.cos(radians(a.lat)) * Math.cos(radians(b.lat)) * Math.sin(radians(b.lon - a.lon) / 2) ** 2;
  return 2 * EARTH_METERS * Math.asin(Math.sqrt(half));
}

const CENTRE = { lat: 50, lon: 10 };
const RADIUS_METERS = 300_000;

/** `keeps` is the filter, told once more in plain code. */
function cells(sides) {
  const random = [500, 100, 50, 10, 3, 1].map((share) => ({
    id: `n.${share / 10}`,
    what: `${share / 10} % of the rows, by chance`,
    filters: { n: { $lt: share } },
    keeps: ({ n }) => n < share,
    mostMs: CELL_MS,
  }));
  const apart = [0.1, 0.01].map((share) => {
    const bound = sides[Math.floor(sides.length * share)];
    return {
      id: `apart.${share * 100}`,
      what: `about ${share * 100} % of the rows, of one side of the space`,
      filters: { side: { $lte: bound } },
      keeps: ({ side }) => side <= bound,
      mostMs: CELL_MS,
    };
  });
  const tree = {
    id: "tree",
    what: "geo radius and ($or of a text and a range)",
    filters: {
      $and: [
        { place: { $geoRadius: { ...CENTRE, radiusMeters: RADIUS_METERS } } },
        { $or: [{ title: { $text: "report" } }, { n: { $gte: 900 } }] },
      ],
    },
    keeps: ({ place, title, n }) =>
      metersBetween(place, CENTRE) <= RADIUS_METERS && (title.split(" ").includes("report") || n >= 900),
    mostMs: TREE_MS,
  };
  return [...random, ...apart, tree];
}

async function judge(house, { set, metadata, cell, seconds }) {
  const { dimension, values } = set.queries;
  const allowed = Uint8Array.from(metadata, (row) => (cell.keeps(row) ? 1 : 0));
  const share = allowed.reduce((sum, bit) => sum + bit, 0) / set.count;
  const truth = Array.from({ length: JUDGED }, (_, i) =>
    exactNearest(set, values.subarray(i * dimension, (i + 1) * dimension), K, (row) => allowed[row] === 1),
  );
  const ask = { filters: cell.filters };
  const recall = await recallOf(house, { set, truth, ask });
  const { p50Ms, p99Ms, errors } = await house.search({ connections: CONNECTIONS, seconds, ask });
  const common = { id: `filters.${cell.id}`, unit: "" };
  const what = `${cell.what} (${(100 * share).toPrecision(2)} %)`;
  return [
    {
      ...common,
      id: `${common.id}.recall`,
      what: `${what}: recall@10`,
      value: recall,
      target: `≥ ${LEAST_RECALL}`,
      ok: recall >= LEAST_RECALL,
    },
    {
      ...common,
      id: `${common.id}.p99`,
      what: `… p99 (p50 ${p50Ms.toFixed(1)})`,
      value: p99Ms,
      unit: "ms",
      target: `< ${cell.mostMs}`,
      ok: p99Ms < cell.mostMs && errors === 0,
    },
  ];
}

export async function runFilters({ data, count = 100_000, seconds }) {
  await buildAll();
  const spec = { data, count };
  const set = makeRows(spec);
  note(`${count} rows: ${set.source}, ${set.real} of them real`);
  const metadata = Array.from({ length: count }, (_, row) => metadataOf(set, row));
  const sides = Uint16Array.from(metadata, ({ side }) => side).sort();
  const house = await openHouse({ spec, record: {} });
  try {
    const { failed } = await house.ingest({ to: count, withMetadata: true });
    if (failed > 0) throw new Error(`${failed} rows were not stored`);
    await house.rest();
    const lines = [];
    for (const cell of cells(sides)) lines.push(...(await judge(house, { set, metadata, cell, seconds })));
    printLines(lines);
    return lines;
  } finally {
    await house.dispose();
  }
}
