// The load of the vector serving benchmarks, in a process of its own: fills a database, or searches it, over plain HTTP connections or over the SDK's
// session.

import { JadeClient } from "../../../src/client/index.ts";
import { httpLoad, requestBytes } from "./http-load.mjs";
import { Recorder } from "./measure.mjs";
import { growRows, makeRows, metadataOf, openBase } from "./vector-rows.mjs";

let rows;
/** One set at a time: a million rows are half a gigabyte. */
function rowsOf(spec) {
  const name = JSON.stringify(spec);
  if (rows?.name !== name) rows = { name, set: spec.isGrown ? openBase(spec) : makeRows(spec) };
  return rows.set;
}

/** Stores rows `from` to `to`, some chunks at once; gives rows a second until the last was acknowledged. */
async function ingest({
  url,
  apiKey,
  databaseId,
  spec,
  from = 0,
  to,
  chunkVectors = 1000,
  inFlight = 4,
  withMetadata,
  transport = "http",
}) {
  const set = rowsOf(spec);
  const client = new JadeClient({ url, apiKey, transport, timeoutMs: 120_000 });
  const vectors = client.vectors(databaseId);
  const { dimension } = set;
  const { values, at } = spec.isGrown ? { values: growRows(set, from, to), at: from } : { values: set.values, at: 0 };
  const beganMs = performance.now();
  let next = from;
  let failed = 0;
  const worker = async () => {
    while (next < to) {
      const first = next;
      next = Math.min(to, next + chunkVectors);
      const chunk = Array.from({ length: next - first }, (_, i) => {
        const row = first + i;
        const vector = { id: `r${row}`, values: values.subarray((row - at) * dimension, (row - at + 1) * dimension) };
        return withMetadata ? { ...vector, metadata: metadataOf(set, row) } : vector;
      });
      failed += (await vectors.upsertChunk(chunk)).failed;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  client.close();
  const seconds = (performance.now() - beganMs) / 1000;
  return { perSecond: (to - from) / seconds, seconds, failed };
}

async function search({ port, apiKey, databaseId, spec, connections, ask, seconds, warmupSeconds = 1 }) {
  const { queries } = rowsOf(spec);
  const { dimension, values } = queries;
  const requests = Array.from({ length: queries.count }, (_, i) =>
    requestBytes({
      method: "POST",
      path: `/v1/databases/${databaseId}/search`,
      host: `127.0.0.1:${port}`,
      apiKey,
      body: JSON.stringify({ queryVector: [...values.subarray(i * dimension, (i + 1) * dimension)], topK: 10, ...ask }),
    }),
  );
  const recorder = new Recorder({ warmupSeconds, seconds });
  let next = 0;
  await httpLoad({ port, connections, next: () => requests[next++ % requests.length], recorder });
  return recorder.result();
}

/** One session, so many searches under way in it. */
async function searchSession({ url, apiKey, databaseId, spec, inFlight, ask, seconds, warmupSeconds = 1 }) {
  const { dimension, values, count } = rowsOf(spec).queries;
  const client = new JadeClient({ url, apiKey, transport: "session" });
  const vectors = client.vectors(databaseId);
  const recorder = new Recorder({ warmupSeconds, seconds });
  let next = 0;
  const lane = async () => {
    while (!recorder.isOver) {
      const at = next++ % count;
      const began = performance.now();
      try {
        await vectors.search({ vector: values.subarray(at * dimension, (at + 1) * dimension) }, { topK: 10, ...ask });
        recorder.done(began, performance.now());
      } catch (error) {
        recorder.failed(error);
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  client.close();
  return recorder.result();
}

const WORK = { ingest, search, searchSession };

process.on("message", async ({ id, kind, ...ask }) => {
  try {
    process.send({ id, result: await WORK[kind](ask) });
  } catch (error) {
    process.send({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
});
