// The coded indexes: recall of 1-bit estimates against an independent reference, IVF and LSH over several sets, bytes by quantizer, and
// the speed of IVF against npm hnswlib-node at equal recall in the same run. `--data DIR` is one of the sets' folders, or the folder
// of all of them (with rabitq_reference.json); else seeded clusters, and no reference.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildWasm } from "../build-wasm.mjs";
import { atLeast, atMost, lineOf, printLines } from "./lib/report.mjs";
import { clusteredVectors } from "./lib/vector-clusters.mjs";
import { exactTruth, indexContender, openSet } from "./lib/vector-kernel-contenders.mjs";
import { hnswlibContender, loadPeer } from "./lib/vector-peers.mjs";
import { readTruth, readVectors } from "./lib/vector-sets.mjs";
import { buildAll, loadSet, median, searchRound, settingsOf, shown, speedAt } from "./vector-kernel.mjs";

const K = 10;
const ROUNDS = 5;
const note = (text) => console.error(text);
const line = (id, ...rest) => lineOf(`ivf.${id}`, ...rest);

const SETS = [
  { id: "sift-10k", reference: "bsds-sift-10k", folder: "bsds-sift-143k", truth: "groundtruth_l2_10k", rows: 10_000 },
  {
    id: "sift-100k",
    reference: "bsds-sift-100k",
    folder: "bsds-sift-143k",
    truth: "groundtruth_l2_100k",
    rows: 100_000,
  },
  { id: "glove-l2", reference: "glove-twitter-25d", folder: "glove-twitter-25d", truth: "groundtruth_l2" },
  { id: "glove-cosine", folder: "glove-twitter-25d", truth: "groundtruth_cosine", metric: "cosine" },
];

function rootOf(data) {
  return [data, data && dirname(data)].find((folder) => folder && existsSync(join(folder, "rabitq_reference.json")));
}

function openSets(root) {
  if (root === undefined) {
    note("without --data: seeded clusters");
    const all = clusteredVectors({ count: 20_500, dimension: 128, clusters: 200, seed: 7 });
    const cut = (from, to) => ({ ...all, count: to - from, values: all.values.subarray(from * 128, to * 128) });
    const set = { base: cut(0, 20_000), queries: cut(20_000, 20_500) };
    const opened = openSet(set);
    return [{ id: "clusters-20k", set, opened, truth: exactTruth(opened, set, K) }];
  }
  return SETS.map(({ id, reference, folder, truth, rows, metric }) => {
    const file = (name) => [`${name}.bvecs`, `${name}.fvecs`].map((n) => join(root, folder, n)).find(existsSync);
    const set = { base: readVectors(file("base"), rows), queries: readVectors(file("query")) };
    const nearest = readTruth(join(root, folder, `${truth}.ivecs`)).map((found) => found.subarray(0, K));
    return { id, reference, set, opened: openSet(set, metric), truth: nearest };
  });
}

function contenderOf({ opened, set }, spec, efs = [0]) {
  const contender = indexContender(opened, { id: `${spec.kind} ${spec.quantizer}`, title: "", spec, efs });
  contender.build(0, set.base.count);
  contender.built();
  return contender;
}

const recallOf = (truth, found) =>
  truth.reduce((sum, nearest, i) => sum + found(i).filter((row) => nearest.includes(row)).length, 0) /
  (truth.length * K);

/** Rotations that the recall of estimates is the mean of: each alone is up to 0.02 off. */
const SEEDS = [1, 2, 3];

/**
 * Recall of the best C estimates against the reference of an independent implementation. Ours round the query's table, so they are held
 * against its recall with queries of 4 bits.
 */
function estimates(sets, root) {
  const references = root && JSON.parse(readFileSync(join(root, "rabitq_reference.json"), "utf8"));
  return sets.flatMap((opened) => {
    const { id, truth } = opened;
    const contenders = SEEDS.map((randomSeed) =>
      contenderOf(opened, { kind: "FLAT", quantizer: "rabitq", randomSeed }),
    );
    const mean = (of) => contenders.reduce((sum, contender) => sum + of(contender), 0) / contenders.length;
    const lines = [10, 20, 50, 100, 200].map((count) => {
      const value = mean((contender) => recallOf(truth, (i) => [...contender.candidates(i, K, count).rows]));
      const wanted = references?.[opened.reference]?.["4-bit query"][`R10@${count}`];
      const judged = wanted && { target: `${wanted} ± 0.02`, ok: Math.abs(value - wanted) <= 0.02 };
      return line(`bits.${id}.${count}`, `${id}: among the best ${count} 1-bit estimates`, value, "recall", judged);
    });
    const kept = mean((contender) => truth.reduce((sum, _, i) => sum + contender.candidates(i, K).rows.length, 0));
    lines.push(line(`bits.${id}.kept`, `${id}: rows that the bounds leave of a scan`, kept / truth.length, "rows"));
    const found = mean((contender) => recallOf(truth, (i) => [...contender.search(i, K)]));
    lines.push(line(`bits.${id}.flat`, `${id}: FLAT rabitq, re-ranked`, found, "recall", atLeast(found, 0.99)));
    for (const contender of contenders) contender.dispose();
    return lines;
  });
}

/** What an index finds for what it reads: the default, then a curve. */
function curves(sets, { spec, efs, judge, name }) {
  return sets.flatMap((opened) => {
    const contender = contenderOf(opened, spec);
    const lines = efs.flatMap((ef) => {
      contender.prepare(ef);
      const recall = recallOf(opened.truth, (i) => [...contender.search(i, K)]);
      const share = contender.scannedShare;
      const what = `${opened.id}: ${name}, ${ef === 0 ? "default" : `${ef} read`}: ${shown(100 * share)} % of the rows`;
      const isJudged = judge && ef === 0;
      const ok = recall >= 0.95 && share <= 0.1;
      const judged = isJudged ? { target: "≥ 0.95 reading ≤ 10 %", ok } : {};
      return line(`${name}.${opened.id}.${ef}`, what, recall, "recall", judged);
    });
    contender.dispose();
    return lines;
  });
}

/** Bytes a row of every quantizer at 768 values; float32 takes 3 072. */
function bytesByQuantizer() {
  const count = 20_000;
  const set = { base: clusteredVectors({ count, dimension: 768, clusters: 100, seed: 3 }), queries: { count: 0 } };
  const opened = { opened: openSet(set), set };
  return ["none", "int8", "rabitq", "pq"].map((quantizer) => {
    const contender = contenderOf(opened, { kind: "FLAT", quantizer });
    const value = quantizer === "none" ? 3072 : contender.memoryBytesPerRow;
    contender.dispose();
    return line(
      `bytes.${quantizer}`,
      `768 values, FLAT ${quantizer}: memory`,
      value,
      "bytes a row",
      quantizer === "rabitq" ? atMost(value, 3072 / 24) : {},
    );
  });
}

/** Queries a second of CPU at equal recall, rounds interleaved with hnswlib-node. */
function speeds(data) {
  const peer = loadPeer("hnswlib-node");
  return [10_000, 100_000].flatMap((rows) => {
    const set = loadSet({ rows, isFloat: false }, data);
    const opened = openSet(set);
    const truth = exactTruth(opened, set, K);
    const efs = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192];
    const spec = (kind, quantizer) => ({
      id: `${kind} ${quantizer}`,
      title: `${kind} ${quantizer}`,
      spec: { kind, quantizer },
      efs,
    });
    const contenders = [spec("IVF", "rabitq"), spec("IVF", "int8"), spec("IVF", "pq")].map((of) =>
      indexContender(opened, of),
    );
    if (peer !== undefined) contenders.unshift(hnswlibContender(peer, set));
    const spent = buildAll(contenders, rows);
    const settings = new Map(contenders.map((contender) => [contender.id, settingsOf(contender, truth)]));
    const rounds = Array.from({ length: ROUNDS + 1 }, () => searchRound(contenders, settings, set.queries.count)).slice(
      1,
    );
    const ratio = (a, b) => (a === undefined || b === undefined ? undefined : a / b);
    const lines = contenders.flatMap(({ id, title }) => [
      line(
        `speed.${rows}.${id}.build`,
        `${rows / 1000} k bytes, ${title}: build`,
        (rows / spent.get(id)) * 1000,
        "rows/s of CPU",
        {
          ratio: id === "hnswlib" ? undefined : ratio(spent.get("hnswlib"), spent.get(id)),
        },
      ),
      ...[0.95, 0.99].map((recall) => {
        const of = (round, who) => (round.has(who) ? speedAt(round.get(who), recall) : undefined);
        return line(
          `speed.${rows}.${id}.${recall}`,
          `${rows / 1000} k bytes, ${title}: recall@10 ≥ ${recall}`,
          median(rounds.map((round) => of(round, id))),
          "queries/s of CPU",
          {
            ratio:
              id === "hnswlib" ? undefined : median(rounds.map((round) => ratio(of(round, id), of(round, "hnswlib")))),
          },
        );
      }),
    ]);
    for (const { dispose } of contenders) dispose?.();
    return lines;
  });
}

/** Gives the lines of the report. `contests`: of estimates, ivf, lsh, bytes, speed; all when absent. */
export async function runIvf({ data, contests }) {
  await buildWasm();
  const root = rootOf(data);
  const wants = (part) => contests === undefined || contests.includes(part);
  const sets = ["estimates", "ivf", "lsh"].some(wants) ? openSets(root) : [];
  const three = sets.filter(({ id }) => id !== "sift-100k");
  const lists = (quantizer, judge) => ({
    spec: { kind: "IVF", quantizer },
    efs: [0, 10, 20, 40],
    judge,
    name: `IVF ${quantizer}`,
  });
  const lines = [
    ...(wants("estimates") ? estimates(sets, root) : []),
    ...(wants("ivf")
      ? [lists("rabitq", true), lists("pq", false), lists("int8", false)].flatMap((of) => curves(sets, of))
      : []),
    ...(wants("lsh")
      ? curves(three, {
          spec: { kind: "LSH", quantizer: "none" },
          efs: [8, 50, 100, 0, 400],
          judge: false,
          name: "LSH",
        })
      : []),
    ...(wants("bytes") ? bytesByQuantizer() : []),
    ...(wants("speed")
      ? speeds(data && existsSync(join(data, "base.bvecs")) ? data : root && join(root, "bsds-sift-143k"))
      : []),
  ];
  printLines(lines, "x hnswlib");
  return lines;
}
