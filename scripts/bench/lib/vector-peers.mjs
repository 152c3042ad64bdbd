// The vector libraries that the kernels are compared with: npm hnswlib-node and usearch (both Apache-2.0), on one thread.
// They are native modules that a checkout does not need, so they are installed on demand, beside the repository's own packages.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

const VERSIONS = { "hnswlib-node": "3.0.0", usearch: "2.25.3" };
const home = () => process.env.JADE_BENCH_PEERS ?? join(homedir(), ".cache", "jade-bench-peers");

/** The package, installed first if it is not there; undefined, with a line that says so, where it cannot be. */
export function loadPeer(name) {
  const directory = home();
  const require = createRequire(join(directory, "index.js"));
  try {
    if (!existsSync(join(directory, "node_modules", name))) {
      mkdirSync(directory, { recursive: true });
      if (!existsSync(join(directory, "package.json"))) writeFileSync(join(directory, "package.json"), "{}");
      console.error(`installing ${name} ${VERSIONS[name]} into ${directory}`);
      const args = ["install", "--no-audit", "--no-fund", `${name}@${VERSIONS[name]}`];
      execFileSync("npm", args, { cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
    }
    return require(name);
  } catch (error) {
    console.error(`without ${name}: ${String(error.message).split("\n")[0]}`);
    return undefined;
  }
}

const rowsOf = ({ count, dimension, values }) =>
  Array.from({ length: count }, (_, row) => Array.from(values.subarray(row * dimension, (row + 1) * dimension)));

/** hnswlib-node as a contender: its own defaults for the build of this project's reference, M 16 and efConstruction 200. */
export function hnswlibContender({ HierarchicalNSW }, set, { m = 16, efConstruction = 200 } = {}) {
  const index = new HierarchicalNSW("l2", set.base.dimension);
  index.initIndex(set.base.count, m, efConstruction, 100);
  const base = rowsOf(set.base);
  const queries = rowsOf(set.queries);
  return {
    id: "hnswlib",
    title: `hnswlib-node M ${m} efC ${efConstruction}`,
    efs: [10, 16, 24, 32, 48, 64, 96, 128, 192, 256],
    build(from, to) {
      for (let row = from; row < to; row++) index.addPoint(base[row], row);
    },
    built() {
      base.length = 0;
    },
    prepare: (ef) => index.setEf(ef),
    search: (query, k) => index.searchKnn(queries[query], k).neighbors,
  };
}

/**
 * usearch with i8 vectors; its `ef` is fixed when an index is opened, so each has its own copy. Rows must be bytes. They are halved:
 * what it does with negative i8 loses far more recall (bytes less 128: 0.83 of the true nearest on 3 000 rows, halved: 0.97).
 */
export function usearchContender({ Index, MetricKind, ScalarKind }, set, { m = 16, efConstruction = 128 } = {}) {
  const { dimension, count } = set.base;
  const halved = ({ values }) => Int8Array.from(values, (value) => value >> 1);
  const open = (expansion_search) =>
    new Index({
      dimensions: dimension,
      metric: MetricKind.L2sq,
      quantization: ScalarKind.I8,
      connectivity: m,
      expansion_add: efConstruction,
      expansion_search,
    });
  const base = halved(set.base);
  const queries = halved(set.queries);
  const index = open(64);
  const path = join(tmpdir(), `jade-bench-usearch-${process.pid}`);
  const opened = new Map();
  let current = index;
  return {
    id: "usearch",
    title: `usearch i8 M ${m} efC ${efConstruction}`,
    efs: [10, 16, 24, 32, 48, 64, 96, 128, 192, 256],
    build(from, to) {
      const keys = BigUint64Array.from({ length: to - from }, (_, i) => BigInt(from + i));
      index.add(keys, base.subarray(from * dimension, to * dimension), 1);
    },
    built() {
      if (Number(index.size()) !== count) throw new Error(`usearch holds ${index.size()} of ${count} rows`);
      index.save(path);
    },
    prepare(ef) {
      if (!opened.has(ef)) {
        opened.set(ef, open(ef));
        opened.get(ef).load(path);
      }
      current = opened.get(ef);
    },
    search: (query, k) =>
      Array.from(current.search(queries.subarray(query * dimension, (query + 1) * dimension), k, 1).keys, Number),
    dispose: () => rmSync(path, { force: true }),
  };
}
