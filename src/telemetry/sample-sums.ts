// Adds up samples (`name{labels}` → number) that several isolates report as differences.
// Guarantees: bounded number of series; what does not fit is counted, not kept. Must not: know names' meaning. Pure.

/** `jade_x_total{node="n1"}` → value. */
export type Samples = Readonly<Record<string, number>>;

/** Series come from route patterns, codes and node ids; more than this means a label that is not bounded. */
export const MAX_SERIES = 20_000;

/** Embedded by the Coordinator: `add` each delta, `samples` for `metrics()`. */
export class SampleSums {
  readonly #sums = new Map<string, number>();
  #dropped = 0;

  add(delta: Samples): void {
    for (const [name, value] of Object.entries(delta)) {
      if (!Number.isFinite(value)) continue;
      const held = this.#sums.get(name);
      if (held === undefined && this.#sums.size >= MAX_SERIES) this.#dropped++;
      else this.#sums.set(name, (held ?? 0) + value);
    }
  }

  samples(): Record<string, number> {
    const samples: Record<string, number> = Object.fromEntries(this.#sums);
    if (this.#dropped > 0) samples["jade_metric_series_dropped_total"] = this.#dropped;
    return samples;
  }
}

/** Same-named samples of several sources added. */
export function sumSamples(sources: readonly Samples[]): Record<string, number> {
  const sums = new SampleSums();
  for (const source of sources) sums.add(source);
  return sums.samples();
}
