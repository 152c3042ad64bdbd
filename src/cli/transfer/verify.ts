// `--verify`: reads every key of a JSONL file back and compares the exact JSON texts.
// A key that stands in several lines is compared with its last one.
import type { JadeClient } from "../../client/index.ts";
import { parseEntry, readLines } from "./jsonl.ts";
import { Progress } from "./progress.ts";

export interface Verification {
  readonly keys: number;
  readonly missing: readonly string[];
  readonly different: readonly string[];
  readonly conflicted: readonly string[];
}

async function lastLines(file: string): Promise<Map<string, number>> {
  const last = new Map<string, number>();
  for await (const line of readLines(file)) {
    const entry = parseEntry(file, line);
    if (entry) last.set(entry.key, line.number);
  }
  return last;
}

export async function verifyFile(input: {
  readonly client: JadeClient;
  readonly file: string;
  readonly concurrency: number;
}): Promise<Verification> {
  const { client, file, concurrency } = input;
  const last = await lastLines(file);
  const missing: string[] = [];
  const different: string[] = [];
  const conflicted: string[] = [];
  const progress = new Progress({ verb: "verified" });
  const open = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  let keys = 0;
  const check = async (key: string, json: string): Promise<void> => {
    const held = await client.kv.getRaw(key, { consistency: "quorum" });
    if (!held.found) missing.push(key);
    else if (held.value !== json) different.push(key);
    if (held.conflict) conflicted.push(key);
    progress.update(++keys, 0);
  };
  for await (const line of readLines(file)) {
    const entry = parseEntry(file, line);
    if (!entry || last.get(entry.key) !== line.number) continue;
    if (failure) break;
    const run = check(entry.key, entry.json).catch((error: unknown) => {
      failure ??= { error };
    });
    open.add(run);
    void run.then(() => open.delete(run));
    if (open.size >= concurrency) await Promise.race(open);
  }
  await Promise.all(open);
  progress.finish(keys, 0);
  if (failure) throw failure.error;
  return { keys, missing, different, conflicted };
}
