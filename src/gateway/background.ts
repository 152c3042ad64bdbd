// What an isolate does after its answers: writes gathered log lines, hands its counters to the Coordinator.
// Guarantees: an isolate that falls idle still delivers its last counts and lines; at most one such task at a time.
// Must not: delay an answer, or fail a request.
import type { HttpMeter } from "../telemetry/http-meter.ts";
import type { LogLevel } from "../telemetry/logger.ts";
import { LOG_FLUSH_MS, MAX_LOG_LINES, METRICS_REPORT_MS } from "./limits.ts";

/** A task that has not ended by then was cut off with its request: start another. Ms. */
const TASK_LOST_AFTER_MS = 10_000;

export interface BackgroundOptions {
  readonly meter: HttpMeter;
  readonly now: () => number;
  readonly report: (delta: Record<string, number>) => Promise<void>;
}

export class Background {
  readonly #options: BackgroundOptions;
  #lines: string[] = [];
  #taskSinceMs: number | undefined;
  #reportedAtMs = 0;

  constructor(options: BackgroundOptions) {
    this.#options = options;
  }

  writeLine(level: LogLevel, line: string): void {
    this.#lines.push(line);
    if (level === "error" || level === "warn" || this.#lines.length >= MAX_LOG_LINES) this.flushLines();
  }

  flushLines(): void {
    if (this.#lines.length === 0) return;
    const text = this.#lines.join("\n");
    this.#lines = [];
    console.log(text);
  }

  /** Called once a request: makes sure that someone will deliver. */
  wake(waitUntil: (work: Promise<unknown>) => void): void {
    const nowMs = this.#options.now();
    if (this.#taskSinceMs !== undefined && nowMs - this.#taskSinceMs < TASK_LOST_AFTER_MS) return;
    this.#taskSinceMs = nowMs;
    waitUntil(this.#deliver(nowMs));
  }

  /** Hands over what was counted so far; a failure keeps it for the next time. */
  async reportNow(): Promise<void> {
    const { meter, report, now } = this.#options;
    if (meter.isEmpty) return;
    const delta = meter.takeDelta();
    try {
      await report(delta);
      this.#reportedAtMs = now();
    } catch {
      meter.restore(delta); // counted again later; a lost acknowledgement may count twice, which a gauge of health bears
    }
  }

  async #deliver(startedAtMs: number): Promise<void> {
    const { now } = this.#options;
    const dueAtMs = Math.max(startedAtMs + LOG_FLUSH_MS, this.#reportedAtMs + METRICS_REPORT_MS);
    const endAtMs = Math.min(dueAtMs, startedAtMs + METRICS_REPORT_MS);
    for (let rounds = 0; rounds <= METRICS_REPORT_MS / LOG_FLUSH_MS; rounds++) {
      await new Promise((resolve) => setTimeout(resolve, LOG_FLUSH_MS));
      this.flushLines();
      if (now() >= endAtMs) break;
    }
    await this.reportNow();
    if (this.#taskSinceMs === startedAtMs) this.#taskSinceMs = undefined;
  }
}
