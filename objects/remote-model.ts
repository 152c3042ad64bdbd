// A model that runs in another process: what the embedder's queue runs in its place.
// Guarantees: runs and loads change nothing, so a call that failed is made again for a while (the process starts beside us, and is started
// again when it ends); a model that was put out of its memory is told apart (`ModelAway`), for its files must be brought again.
import type { ModelDefinition } from "../src/embedding/model.ts";
import type { Outcome } from "../src/embedding/queue.ts";
import { EmbeddingRefusal } from "../src/embedding/refusal.ts";
import type { LoadedModel } from "./embedder-families.ts";
import type { Embedded } from "./embedder-rpc.ts";
import type { ModelRunnerRpc, RunnerModel } from "./model-runner-rpc.ts";
import { DeadlineExceeded, withDeadline } from "./with-deadline.ts";

/** Bytes of a file in one call. */
const BRING_BYTES = 4 * 1024 * 1024;
/** One call: a batch of a large model takes seconds. Ms. */
const CALL_DEADLINE_MS = 60_000;
/** For how long a process that is away is called. Ms. */
const PATIENCE_MS = 5000;
const RETRY_MS = 100;
/** The model's bytes are the runner's; this bounds how many stand in for one. */
const STAND_IN_BYTES = 4096;

/** It is not in the runner's memory. */
export class ModelAway extends Error {
  override readonly name = "ModelAway";
}

export interface RemoteInput {
  readonly key: string;
  readonly definition: ModelDefinition;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

async function patiently<T>(call: () => Promise<T>): Promise<T> {
  const untilMs = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await withDeadline(call(), CALL_DEADLINE_MS, "the process that runs models");
    } catch (error) {
      const isAnswer = error instanceof EmbeddingRefusal;
      if (isAnswer || error instanceof DeadlineExceeded || Date.now() >= untilMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Brings the files and has them loaded. @throws EmbeddingRefusal */
export async function loadRemotely(
  runner: ModelRunnerRpc,
  { key, definition, files }: RemoteInput,
): Promise<LoadedModel> {
  const { dimension } = await patiently(async () => {
    const load = crypto.randomUUID();
    await runner.begin(load, key, definition);
    for (const [file, bytes] of files)
      for (let offset = 0; offset < bytes.length; offset += BRING_BYTES)
        await runner.bring({ load, file, offset }, bytes.subarray(offset, offset + BRING_BYTES));
    return loaded(await runner.load(load));
  });
  return {
    ...{ key, dimension },
    memoryBytes: STAND_IN_BYTES,
    async run(texts) {
      const embedded = await patiently(() => runner.run(key, texts));
      if (!embedded) throw new ModelAway(key);
      return outcomesOf(embedded);
    },
    // Where the call does not arrive, the runner's bound on memory puts it out in time.
    release: () => void runner.drop(key).catch(() => undefined),
  };
}

type Loaded = Awaited<ReturnType<ModelRunnerRpc["load"]>>;

function loaded(result: Loaded): RunnerModel {
  if (result.ok) return result.value;
  throw new EmbeddingRefusal(result.code, result.message, result.details);
}

function outcomesOf({ dimension, values, tokens, unknownTokens, failures }: Embedded): readonly Outcome[] {
  const all = new Float32Array(new Uint8Array(values).buffer);
  return failures.map((failure, at) => {
    if (failure) return new EmbeddingRefusal(failure.code, failure.message, failure.details);
    const own = all.slice(at * dimension, (at + 1) * dimension);
    return { values: own, tokens: tokens[at]!, unknownTokens: unknownTokens[at]! };
  });
}
