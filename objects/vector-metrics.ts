// What a shard of vectors, or a copy of one, counts for /metrics. Names and help texts: src/telemetry.
import type { ShardDesk } from "../src/vector/shard/shard-desk.ts";
import type { VectorAnswer, VectorCall } from "../src/wire/vector.ts";
import type { Env } from "./env.ts";
import { KeyspaceMeter } from "./keyspace-metrics.ts";

export interface VectorMeterOptions {
  readonly env: Env;
  readonly ctx: Pick<DurableObjectState, "id" | "waitUntil">;
  readonly isCopy: boolean;
  /** Undefined = there is no shard. */
  readonly desk: () => ShardDesk | undefined;
  readonly repair: () => { readonly damagedTotal: number; readonly repairedTotal: number };
  /** Of a copy: commits that it lacks, as far as it knows. */
  readonly lagRevisions?: () => number;
}

export class VectorMeter {
  readonly #options: VectorMeterOptions;
  readonly #meter: KeyspaceMeter;
  readonly #counts = { searches: 0, scanned: 0, reads: 0, written: 0 };

  constructor(options: VectorMeterOptions) {
    this.#options = options;
    const { env, ctx } = options;
    const waitUntil = (work: Promise<unknown>): void => ctx.waitUntil(work);
    const [id, to] = [ctx.id.toString(), "reportVectorMetrics"] as const;
    this.#meter = new KeyspaceMeter({ env, id, to, waitUntil, read: () => this.#samples() });
  }

  /** A call was answered. */
  answered({ request }: VectorCall, answer: VectorAnswer): void {
    if (answer.kind === "found") {
      this.#counts.searches += request.kind === "search" ? request.queries.length : 0;
      this.#counts.scanned += answer.scanned;
    } else if (answer.kind === "written") {
      this.#counts.written += answer.results.filter((result) => result !== null && !("kind" in result)).length;
    } else if (answer.kind !== "error") this.#counts.reads++;
    this.#meter.touch();
  }

  /** Something else that is counted has changed. */
  touch(): void {
    this.#meter.touch();
  }

  /** Before an erasure. */
  async end(): Promise<void> {
    await this.#meter.end();
  }

  #samples(): Record<string, number> | undefined {
    const { desk, isCopy, repair, lagRevisions } = this.#options;
    const opened = desk();
    if (!opened) return undefined;
    const { store } = opened;
    const at = isCopy ? "copy" : "leader";
    const { searches, scanned, reads, written } = this.#counts;
    const { damagedTotal, repairedTotal } = repair();
    return {
      [`jade_vector_searches_total{at="${at}"}`]: searches,
      [`jade_vector_rows_scanned_total{at="${at}"}`]: scanned,
      [`jade_vector_reads_total{at="${at}"}`]: reads,
      [`jade_vector_memory_bytes{at="${at}"}`]: opened.memoryBytes,
      [`jade_vector_damaged_total{at="${at}"}`]: damagedTotal,
      [`jade_vector_repaired_total{at="${at}"}`]: repairedTotal,
      ...(isCopy
        ? { jade_vector_follower_lag_revisions: lagRevisions?.() ?? 0 }
        : {
            jade_vector_rows_written_total: written,
            jade_vector_rows: store.liveCount,
            jade_vector_segments: store.sealed.length,
            jade_vector_log_bytes: store.logBytes,
          }),
    };
  }
}
