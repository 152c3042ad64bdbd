// Knows the bucket again: each instance counts in the bucket and on its own disk. A bucket that lacks the count, or has a lower one, is another one, was emptied, or
// was brought back from an older copy. Its Directory would give numbers of tenants a second time, whose rows the storage nodes still hold.
// Guarantees: where the bucket is not the known one this instance's leaders rest and say so, until somebody decides. Must not: decide, or act while
// the bucket cannot be asked.
import { existsSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { writeConfigFile } from "../worker-files.ts";

/** Until the bucket was asked by the leaders' process that runs: nobody should get far before that. Ms. */
const STEP_MS = 250;
const LOOK_EVERY_MS = 30_000;
const ASK_TIMEOUT_MS = 2000;

export interface Seen {
  readonly bucket: string;
  /** Raised by each look. */
  readonly count: number;
  readonly at: string;
  /** Of the deployment, where it began by `--new-deployment`. */
  readonly word?: string | undefined;
}

/** A place for what was seen; throws when it cannot be asked. */
export interface SeenPlace {
  read(): Promise<Seen | undefined>;
  write(seen: Seen): Promise<void>;
}

/** Why the bucket is not the known one; undefined = it is. */
export function whyAnother(bucket: string, known: Seen | undefined, found: Seen | undefined): string | undefined {
  if (!known) return undefined;
  if (known.bucket !== bucket) return `this instance's data belongs to ${known.bucket}`;
  if (!found) return `nothing of this instance is in it, and it was there at ${known.at}`;
  if (found.count >= known.count) return undefined;
  return `it is from ${found.at} or before, and this instance has seen it at ${known.at}`;
}

/** On the instance's own disk. */
export function seenFile(path: string): SeenPlace {
  return {
    read: async () => (existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Seen) : undefined),
    write: async (seen) => writeConfigFile(path, JSON.stringify(seen)),
  };
}

/** In the bucket, through what the leaders' process offers on a unix socket. */
export function seenInBucket(socketPath: string, zone: string): SeenPlace {
  const ask = (method: string, body?: string): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
      const headers = { host: "board", ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }) };
      const asking = request({ socketPath, method, path: `/${zone}.seen.json`, headers, signal }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text })).on("error", reject);
      });
      asking.on("error", reject).end(body);
    });
  return {
    async read() {
      const { status, text } = await ask("GET");
      if (status === 404) return undefined;
      if (status !== 200) throw new Error(`the bucket answered ${status}`);
      return JSON.parse(text) as Seen;
    },
    async write(seen) {
      const { status } = await ask("PUT", JSON.stringify(seen));
      if (status >= 300) throw new Error(`the bucket answered ${status}`);
    },
  };
}

export interface BucketMemoryOptions {
  readonly bucket: string;
  readonly word: string | undefined;
  readonly here: SeenPlace;
  readonly there: SeenPlace;
  /** The leaders' process; undefined = none runs. One whose bucket was emptied ends, and the next one would begin anew there. */
  readonly process: () => number | undefined;
  /** Lets the leaders rest. */
  readonly rest: () => void;
  readonly report: (line: string) => void;
  readonly now: () => Date;
}

export class BucketMemory {
  readonly #options: BucketMemoryOptions;
  #complaint = "";

  constructor(options: BucketMemoryOptions) {
    this.#options = options;
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    let asked: { readonly process: number; readonly atMs: number } | undefined;
    while (!signal.aborted) {
      const process = this.#options.process();
      const isDue = !asked || asked.process !== process || performance.now() - asked.atMs >= LOOK_EVERY_MS;
      if (isDue && process !== undefined) {
        const isKnown = await this.look().catch(() => false);
        asked = isKnown ? { process, atMs: performance.now() } : undefined;
      }
      await sleep(STEP_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** True = it is the known one. Throws when it cannot be asked. */
  async look(): Promise<boolean> {
    const { bucket, word, here, there, rest, report, now } = this.#options;
    const [known, found] = [await here.read(), await there.read()];
    const why = whyAnother(bucket, known, found);
    if (why === undefined) {
      const count = Math.max(known?.count ?? 0, found?.count ?? 0) + 1;
      const seen = { bucket, count, at: now().toISOString(), word };
      // In this order: what is here must never be ahead of a bucket that is whole.
      await there.write(seen);
      await here.write(seen);
      return true;
    }
    rest();
    if (why !== this.#complaint)
      report(
        `${bucket} is not the bucket that it was: ${why}. The leaders rest. docs/operations/lost-bucket.md says what to do`,
      );
    this.#complaint = why;
    return false;
  }
}
