// The embedding benchmark: texts a second and their latency by length, alone and in batches; what a model takes in memory; key-value beside it;
// whether word similarities come out of the API as they are in the file; a text search of many documents, and where its time goes.
// Models: the shipped GloVe, and a transformer of MiniLM's size with random int8 weights made here. Texts are never asked for twice.
// Options: --count N documents (100 000), --seconds N a measured phase, --only tokens,memory,beside,words,search, --builds ., ../old (beside).
// Exit: 1 = 1 000 tokens take a second of CPU or more, or word similarities differ.
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import { JadeClient } from "../../src/client/index.ts";
import { WordEncoder } from "../../src/embedding/word-encoder.ts";
import { readWordFile } from "../../src/embedding/words/word-file.ts";
import { buildAll } from "../build.mjs";
import { startServer } from "../lib/server-process.mjs";
import { seededRandom } from "./lib/keys.mjs";
import { MINI_LM, randomTransformer } from "./lib/random-transformer.mjs";

const GLOVE = "glove-twitter-25d";
const MINI = "mini-int8";
const BATCH = 32;
/** Of a transformer at once (src/embedding/limits.ts). */
const RUN_TOKENS = 2048;
const LONG_TOKENS = 1000;
const LONG_LIMIT_MS = 1000;
const PAIRS = 2000;
const KEY_VALUE_CLIENTS = 4;
const BESIDE_TOKENS = 64;
const CLOCK_TICKS = 100;
const note = (words) => console.error(words);
const table = readWordFile(readFileSync("models/glove-twitter-25d.jwv"));
const words = [...table.words()].filter((word) => /^[a-z]+$/.test(word));
const random = seededRandom(5);
const pick = (list) => list[Math.floor(random() * list.length)];

/** Texts of a request: more tokens do not run at once. */
const batchOf = (tokens) => Math.min(BATCH, RUN_TOKENS / tokens);
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
const sortedOf = (numbers) => numbers.toSorted((a, b) => a - b);
const round = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)) : "-");
const load = () => `load ${loadavg()[0].toFixed(1)}`;

function print(head, rows) {
  const shown = new Table({ head, style: { head: [], border: [], compact: true } });
  for (const row of rows) shown.push(row.map(String));
  console.log(shown.toString());
}

/** Of the process that runs models; undefined = this build has none. */
function modelsPid(server) {
  return JSON.parse(readFileSync(join(server.dataDir, "instance.lock"), "utf8")).models?.pid;
}

function statOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return { cpuMs: ((Number(fields[11]) + Number(fields[12])) * 1000) / CLOCK_TICKS, rssMib: Number(kib) / 1024 };
}

/** A text of so many tokens; special ones are the tokenizer's to add. */
function textOf(model, tokens) {
  if (model === GLOVE) return Array.from({ length: tokens }, () => pick(words)).join(" ");
  return Array.from({ length: Math.max(1, tokens - 2) }, () => `w${Math.floor(random() * 30_000)}`).join(" ");
}

async function started(build) {
  const server = await startServer({ build });
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const { apiKey } = await admin.tenants.create({ tenantId: "bench" });
  admin.close();
  return { server, client: new JadeClient({ url: server.url, apiKey, timeoutMs: 60_000 }) };
}

const addMini = (client) => client.models.add({ modelId: MINI, family: "transformer" }, randomTransformer(MINI_LM));

/** One request after another. */
async function timed(run, seconds) {
  const times = [];
  const endMs = performance.now() + seconds * 1000;
  do {
    const beganMs = performance.now();
    await run();
    times.push(performance.now() - beganMs);
  } while (performance.now() < endMs);
  return sortedOf(times);
}

async function measureTokens({ client, server }, { seconds }) {
  const rows = [];
  let isOk = true;
  for (const model of [GLOVE, MINI]) {
    await client.models.embed([textOf(model, 8)], model);
    for (const tokens of [8, 64, 256, LONG_TOKENS]) {
      for (const texts of tokens === LONG_TOKENS ? [1] : [1, batchOf(tokens)]) {
        const before = statOf(modelsPid(server));
        const asked = () =>
          client.models.embed(
            Array.from({ length: texts }, () => textOf(model, tokens)),
            model,
          );
        const times = await timed(asked, seconds);
        const cpuMs = (statOf(modelsPid(server)).cpuMs - before.cpuMs) / (times.length * texts);
        const perSecond = (texts * 1000 * times.length) / times.reduce((sum, time) => sum + time, 0);
        const [p50, p99] = [0.5, 0.99].map((share) => round(percentile(times, share)));
        rows.push([model, tokens, texts, round(perSecond), p50, p99, round(cpuMs), times.length, load()]);
        note(rows.at(-1).join("  "));
        // One thread runs it: on a machine that is busy with other things its CPU time says what its time would be.
        if (tokens === LONG_TOKENS && cpuMs >= LONG_LIMIT_MS) isOk = false;
      }
    }
  }
  print(["model", "tokens", "texts a request", "texts/s", "p50 ms", "p99 ms", "CPU ms a text", "n", ""], rows);
  return isOk;
}

async function measureMemory() {
  const { server, client } = await started();
  try {
    const rows = [];
    const tell = (what) => rows.push([what, round(statOf(modelsPid(server)).rssMib)]);
    tell("no model");
    await client.models.embed(["tea"], GLOVE);
    tell(GLOVE);
    await addMini(client);
    await client.models.embed([textOf(MINI, 256)], MINI);
    tell(`${GLOVE} and ${MINI}`);
    print(["models' process", "resident MiB"], rows);
  } finally {
    client.close();
    await server.dispose();
  }
}

async function keyValueTimes(client, seconds) {
  const all = await Promise.all(
    Array.from({ length: KEY_VALUE_CLIENTS }, (_, n) => {
      let count = 0;
      return timed(async () => {
        const key = `k/${n}/${count++ % 100}`;
        await client.kv.put(key, count);
        await client.kv.get(key);
      }, seconds);
    }),
  );
  return sortedOf(all.flat());
}

/** Key-value, put and get, while nobody embeds and while texts run all the time; builds in turns. */
async function measureBeside(_, { seconds, builds, rounds }) {
  const rows = [];
  const houses = [];
  for (const build of builds) houses.push({ build, ...(await started(build)) });
  try {
    for (const { client } of houses) {
      await addMini(client);
      await client.models.embed([textOf(MINI, BESIDE_TOKENS)], MINI);
    }
    for (let n = 0; n < rounds; n++) {
      for (const { build, client } of houses) {
        for (const isBusy of [false, true]) {
          let isOver = false;
          const embedding = (async () => {
            let texts = 0;
            while (isBusy && !isOver) {
              await client.models.embed(
                Array.from({ length: 4 }, () => textOf(MINI, BESIDE_TOKENS)),
                MINI,
              );
              texts += 4;
            }
            return texts;
          })();
          const times = await keyValueTimes(client, seconds);
          isOver = true;
          const texts = await embedding;
          const shares = [0.5, 0.99, 1].map((share) => round(percentile(times, share)));
          rows.push([build, isBusy ? `${texts} texts beside` : "alone", times.length, ...shares, load()]);
          note(rows.at(-1).join("  "));
        }
      }
    }
  } finally {
    for (const { client, server } of houses) {
      client.close();
      await server.dispose();
    }
  }
  print(["build", "", "put + get", "p50 ms", "p99 ms", "longest ms", ""], rows);
}

const cosine = (a, b) => {
  const dot = (x, y) => x.reduce((sum, value, at) => sum + value * y[at], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};

function ranksOf(numbers) {
  const order = numbers.map((_, at) => at).sort((a, b) => numbers[a] - numbers[b]);
  const ranks = new Float64Array(numbers.length);
  for (const [rank, at] of order.entries()) ranks[at] = rank;
  return ranks;
}

/** Pearson's correlation of ranks. */
function spearman(a, b) {
  const mean = (a.length - 1) / 2;
  const [x, y] = [a, b].map((numbers) => [...ranksOf(numbers)].map((rank) => rank - mean));
  return cosine(x, y);
}

async function measureWords({ client }) {
  const pairs = Array.from({ length: PAIRS }, () => [pick(words), pick(words)]);
  const encoder = new WordEncoder(table);
  const direct = pairs.map(([a, b]) => cosine(encoder.embed(a).values, encoder.embed(b).values));
  const asked = [];
  for (let from = 0; from < PAIRS; from += 200)
    asked.push(...(await client.models.embed(pairs.slice(from, from + 200).flat(), GLOVE)));
  const served = pairs.map((_, at) => cosine(asked[at * 2].values, asked[at * 2 + 1].values));
  const correlation = spearman(direct, served);
  const most = Math.max(...direct.map((value, at) => Math.abs(value - served[at])));
  print(
    ["word pairs", "Spearman, API against file", "largest difference"],
    [[PAIRS, correlation.toFixed(6), most.toExponential(1)]],
  );
  return correlation > 0.999;
}

async function measureSearch({ client }, { count = 100_000, seconds }) {
  const documents = { databaseId: "docs", embeddingModels: [{ modelId: GLOVE }], sharding: { numShards: 2 } };
  await client.databases.create(documents);
  const vectors = client.vectors("docs");
  const beganMs = performance.now();
  function* texts() {
    for (let n = 0; n < count; n++) yield { id: `d${n}`, text: textOf(GLOVE, 20), metadata: { n } };
  }
  const { stored } = await vectors.upsertTexts(texts(), { chunkVectors: 500 });
  const perSecond = round((stored * 1000) / (performance.now() - beganMs));
  note(`${stored} documents of 20 words stored: ${perSecond}/s, ${load()}`);
  const fixed = textOf(GLOVE, 8);
  const [{ values: vector }] = await client.models.embed([fixed], GLOVE);
  await vectors.search({ vector }, { topK: 10 });
  const phases = [
    ["an answer at all (GET one vector)", () => vectors.get("d1")],
    ["a text's vector (POST /v1/embeddings)", () => client.models.embed([textOf(GLOVE, 8)], GLOVE)],
    ["the same text's again (cache)", () => client.models.embed([fixed], GLOVE)],
    ["search by vector", () => vectors.search({ vector: vector.map((value) => value + random() / 100) }, { topK: 10 })],
    ["search by text", () => vectors.search({ text: textOf(GLOVE, 8) }, { topK: 10 })],
  ];
  const rows = [];
  for (const [what, run] of phases) {
    const times = await timed(run, seconds);
    rows.push([what, times.length, ...[0.5, 0.99].map((share) => round(percentile(times, share))), load()]);
  }
  print([`${stored} documents`, "n", "p50 ms", "p99 ms", ""], rows);
}

const PARTS = {
  tokens: measureTokens,
  words: measureWords,
  search: measureSearch,
  memory: measureMemory,
  beside: measureBeside,
};
/** Those that ask the common server. */
const SHARED = new Set(["tokens", "words", "search"]);

export async function run(options) {
  await buildAll({ quiet: true });
  const parts = options.only ?? Object.keys(PARTS);
  console.log(`${cpus()[0].model}, ${availableParallelism()} cores, ${load()}`);
  let isOk = true;
  const house = parts.some((part) => SHARED.has(part)) ? await started() : undefined;
  try {
    if (parts.includes("tokens")) await addMini(house.client);
    for (const part of parts) isOk = (await PARTS[part](house, options)) !== false && isOk;
  } finally {
    house?.client.close();
    await house?.server.dispose();
  }
  return isOk ? 0 : 1;
}
