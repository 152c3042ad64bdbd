// Many seeds in worker threads. Guarantees: which seeds fail does not depend on the number of workers; with `isFirstEnough` the
// lowest failing seed is found. Needs a Node that runs TypeScript (22.18 or later), as npm's scripts have here.
import { Worker } from "node:worker_threads";

/** Seeds handed to a worker at once: seconds of work, so that nobody waits long at the end. */
const SEEDS_PER_ORDER: Readonly<Record<string, number>> = { quorum: 100 };

export interface SweepOrder {
  /** A kind of schedules, see worlds.ts. */
  readonly world: string;
  readonly from: number;
  readonly count: number;
  /** Name of a planted mistake. */
  readonly sabotage: string | undefined;
}

export interface SweepReport {
  readonly from: number;
  readonly done: number;
  readonly failed: { readonly seed: number; readonly problem: string }[];
  readonly counts: Readonly<Record<string, number>>;
}

export interface Progress {
  readonly seedCount: number;
  readonly failedCount: number;
  /** All seeds below this one have run: where a run that was stopped goes on. */
  readonly nextSeed: number;
}

export interface SweepOptions {
  readonly world: string;
  readonly from: number;
  readonly count: number;
  readonly workers: number;
  readonly sabotage?: string | undefined;
  /** Stops after this many failing seeds. */
  readonly maxFailed?: number;
  readonly onProgress?: (progress: Progress) => void;
}

export interface SweepResult {
  readonly seedCount: number;
  readonly failed: SweepReport["failed"];
  /** Answers by kind, summed. */
  readonly counts: Readonly<Record<string, number>>;
}

export async function sweep(options: SweepOptions): Promise<SweepResult> {
  const { world, from, count, sabotage, maxFailed = 1, onProgress } = options;
  const end = from + count;
  const failed: SweepReport["failed"] = [];
  const counts: Record<string, number> = {};
  let next = from;
  let seedCount = 0;
  const underWay = new Set<number>();
  const work = async (worker: Worker): Promise<void> => {
    while (next < end && failed.length < maxFailed) {
      const order: SweepOrder = {
        world,
        from: next,
        count: Math.min(SEEDS_PER_ORDER[world] ?? 20, end - next),
        sabotage,
      };
      next += order.count;
      underWay.add(order.from);
      const report = await ask(worker, order);
      underWay.delete(order.from);
      seedCount += report.done;
      failed.push(...report.failed);
      for (const [name, value] of Object.entries(report.counts)) counts[name] = (counts[name] ?? 0) + value;
      onProgress?.({ seedCount, failedCount: failed.length, nextSeed: Math.min(next, ...underWay) });
    }
  };
  const workers = Array.from(
    { length: options.workers },
    () => new Worker(new URL("./sweep-worker.ts", import.meta.url)),
  );
  try {
    await Promise.all(workers.map(work));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  failed.sort((a, b) => a.seed - b.seed);
  return { seedCount, failed, counts };
}

function ask(worker: Worker, order: SweepOrder): Promise<SweepReport> {
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (report: SweepReport) => {
      worker.off("error", reject);
      resolve(report);
    });
    worker.postMessage(order);
  });
}
