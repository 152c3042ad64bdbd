// `--verify` of imports and exports of vectors: counts, a digest of every row, and searches for a sample of the rows themselves.
import type { VectorMetric, Vectors } from "../../client/index.ts";
import { CommandFailure } from "../exit-codes.ts";
import { Progress } from "../transfer/progress.ts";
import { type FormatOptions, readRows, type VectorFormat } from "./formats.ts";
import { idDigest, RowDigests, rowDigest } from "./row-digests.ts";
import type { VectorFile } from "./rows.ts";

const SAMPLE_ROWS = 100;
/** Numbers of 20 vectors of 4096 dimensions are 1 MiB of JSON. */
const SEARCHES_AT_ONCE = 20;
const PAGE_ROWS = 1000;
/** Indexes are approximate: that few may find only what is nearly as near. */
const LEAST_FOUND_SHARE = 0.95;
/** Of float32 sums. */
const TOLERANCE = 1e-3;

export interface VectorVerification {
  readonly vectors: Vectors;
  readonly metric: VectorMetric;
  readonly file: VectorFile;
  readonly format: VectorFormat;
  readonly read: FormatOptions;
  /** The file holds all vectors, so that others are told too. */
  readonly isWhole: boolean;
}

interface Sampled {
  readonly id: string;
  readonly values: Float32Array;
}

/** The rows' digests, and some of the rows, each as likely as any other. */
async function digestsOf({ file, format, read }: VectorVerification) {
  const digests = new RowDigests();
  const sample: Sampled[] = [];
  for await (const row of readRows(file, format, read)) {
    digests.set(idDigest(row.id), rowDigest(row));
    if (sample.length < SAMPLE_ROWS) sample.push(row);
    else {
      const at = Math.floor(Math.random() * row.number);
      if (at < SAMPLE_ROWS) sample[at] = row;
    }
  }
  const isLast = ({ id, values, metadata }: Sampled & { metadata?: string | undefined }) =>
    digests.get(idDigest(id)) === rowDigest({ values, metadata });
  return { digests, sample: sample.filter(isLast) };
}

/** Whether a search found something at least as near as the vector is to itself. */
export function isItself(metric: VectorMetric, values: Float32Array, score: number | undefined): boolean {
  if (score === undefined) return false;
  const square = values.reduce((sum, value) => sum + value * value, 0);
  if (metric === "cosine") return score >= 1 - TOLERANCE;
  if (metric === "dot") return score >= square * (1 - TOLERANCE);
  return score <= TOLERANCE * Math.max(1, Math.sqrt(square));
}

async function foundOf({ vectors, metric }: VectorVerification, sample: readonly Sampled[]) {
  let found = 0;
  let example: string | undefined;
  for (let start = 0; start < sample.length; start += SEARCHES_AT_ONCE) {
    const part = sample.slice(start, start + SEARCHES_AT_ONCE);
    const { searches } = await vectors.searchMany(
      part.map(({ values }) => ({ vector: values })),
      { topK: 1 },
    );
    for (const [at, { id, values }] of part.entries()) {
      if (isItself(metric, values, searches[at]?.results[0]?.score)) found++;
      else example ??= id;
    }
  }
  return { found, example };
}

/** @throws CommandFailure that tells what is missing, different or not found */
export async function verifyVectors(input: VectorVerification): Promise<object> {
  const { vectors, isWhole } = input;
  const { digests, sample } = await digestsOf(input);
  const progress = new Progress({ verb: "verified", noun: "vectors" });
  let [same, different, additional, listed] = [0, 0, 0, 0];
  let example: string | undefined;
  for await (const { id, values, metadataJson } of vectors.list({
    limit: PAGE_ROWS,
    includeValues: true,
    includeMetadata: true,
  })) {
    const key = idDigest(id);
    const expected = digests.get(key);
    progress.update(++listed, 0);
    if (expected !== undefined && !digests.see(key)) continue;
    const isSame = expected !== undefined && values && expected === rowDigest({ values, metadata: metadataJson });
    if (isSame) same++;
    else if (expected === undefined) additional++;
    else different++;
    if (!isSame && (expected !== undefined || isWhole)) example ??= id;
  }
  progress.finish(listed, 0);
  const missing = digests.size - same - different;
  const count = await vectors.count();
  if (missing + different + (isWhole ? additional : 0) > 0) {
    const at = example === undefined ? "" : `; for example ${JSON.stringify(example)}`;
    throw new CommandFailure(
      `verification failed: of ${digests.size} vectors ${missing} are missing, ${different} differ, ${additional} are not in the file${at}`,
    );
  }
  const searched = await foundOf(input, sample);
  if (searched.found < sample.length * LEAST_FOUND_SHARE) {
    throw new CommandFailure(
      `verification failed: searches for ${sample.length} vectors themselves found ${searched.found}; not, for example, ${JSON.stringify(searched.example)}`,
    );
  }
  return { verified: digests.size, count, selfSearch: `${searched.found} of ${sample.length}` };
}
