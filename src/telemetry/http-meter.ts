// Counts HTTP requests of one isolate by route pattern: cheap to record, given away as differences.
// Guarantees: `takeDelta` returns each count once; labels are route patterns, methods, statuses and codes only, never paths.
// Must not: do I/O or read a clock. Pure.
import { label } from "./exposition.ts";
import type { Samples } from "./sample-sums.ts";

/** Seconds. */
export const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

interface Series {
  readonly buckets: Float64Array;
  seconds: number;
  readonly statuses: Map<number, number>;
  readonly codes: Map<string, number>;
}

export interface HttpObservation {
  /** The pattern, e.g. `/v1/tenants/{id}`. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
  /** The error code of the answer. */
  readonly code?: string | undefined;
  readonly seconds: number;
}

function bucketOf(seconds: number): number {
  for (let i = 0; i < DURATION_BOUNDS.length; i++) if (seconds <= DURATION_BOUNDS[i]!) return i;
  return DURATION_BOUNDS.length;
}

export class HttpMeter {
  #series = new Map<string, Map<string, Series>>();
  #counters = new Map<string, number>();

  record(observation: HttpObservation): void {
    const series = this.#seriesOf(observation.route, observation.method);
    series.buckets[bucketOf(observation.seconds)]!++;
    series.seconds += observation.seconds;
    series.statuses.set(observation.status, (series.statuses.get(observation.status) ?? 0) + 1);
    if (observation.code) series.codes.set(observation.code, (series.codes.get(observation.code) ?? 0) + 1);
  }

  count(name: string, by = 1): void {
    this.#counters.set(name, (this.#counters.get(name) ?? 0) + by);
  }

  get isEmpty(): boolean {
    return this.#series.size === 0 && this.#counters.size === 0;
  }

  /** What was counted since the last call, as samples. */
  takeDelta(): Record<string, number> {
    const delta: Record<string, number> = Object.fromEntries(this.#counters);
    for (const [route, methods] of this.#series) {
      for (const [method, series] of methods) writeSeries(delta, `route="${label(route)}",method="${method}"`, series);
    }
    this.#series = new Map();
    this.#counters = new Map();
    return delta;
  }

  /** Takes back a delta that could not be delivered. */
  restore(delta: Samples): void {
    for (const [name, value] of Object.entries(delta)) this.count(name, value);
  }

  #seriesOf(route: string, method: string): Series {
    let methods = this.#series.get(route);
    if (!methods) {
      methods = new Map();
      this.#series.set(route, methods);
    }
    let series = methods.get(method);
    if (!series) {
      series = {
        buckets: new Float64Array(DURATION_BOUNDS.length + 1),
        seconds: 0,
        statuses: new Map(),
        codes: new Map(),
      };
      methods.set(method, series);
    }
    return series;
  }
}

function writeSeries(delta: Record<string, number>, labels: string, series: Series): void {
  // Added, not set: a delta taken back may hold the same names.
  const add = (sample: string, value: number): void => {
    delta[sample] = (delta[sample] ?? 0) + value;
  };
  const name = "jade_http_request_duration_seconds";
  let cumulative = 0;
  for (const [index, count] of series.buckets.entries()) {
    cumulative += count;
    add(`${name}_bucket{${labels},le="${DURATION_BOUNDS[index] ?? "+Inf"}"}`, cumulative);
  }
  add(`${name}_sum{${labels}}`, series.seconds);
  add(`${name}_count{${labels}}`, cumulative);
  for (const [status, count] of series.statuses) add(`jade_http_requests_total{${labels},status="${status}"}`, count);
  for (const [code, count] of series.codes) add(`jade_http_errors_total{${labels},code="${code}"}`, count);
}
