// Samples as Prometheus text (exposition format 0.0.4).
// Guarantees: one HELP and TYPE per family, a family's samples together, buckets ascending. Must not: do I/O. Pure.
import { METRICS, type MetricInfo } from "./catalog.ts";
import type { Samples } from "./sample-sums.ts";

export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

const HISTOGRAM_SUFFIX = /_(bucket|sum|count)$/;
const LE_LABEL = /,?le="([^"]*)"/;

/** A label value with what Prometheus wants escaped. */
export function label(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
}

function familyOf(sample: string, catalog: Readonly<Record<string, MetricInfo>>): string {
  const brace = sample.indexOf("{");
  const name = brace < 0 ? sample : sample.slice(0, brace);
  const base = name.replace(HISTOGRAM_SUFFIX, "");
  return base !== name && catalog[base]?.kind === "histogram" ? base : name;
}

/** Sorts buckets of one series by their bound. */
function sortKey(sample: string): readonly [string, number] {
  const bound = LE_LABEL.exec(sample)?.[1];
  return [sample.replace(LE_LABEL, ""), bound === undefined || bound === "+Inf" ? Infinity : Number(bound)];
}

function bySortKey(a: string, b: string): number {
  const [aName, aBound] = sortKey(a);
  const [bName, bBound] = sortKey(b);
  if (aName !== bName) return aName < bName ? -1 : 1;
  return aBound === bBound ? 0 : aBound - bBound;
}

export function renderExposition(samples: Samples, catalog: Readonly<Record<string, MetricInfo>> = METRICS): string {
  const families = new Map<string, string[]>();
  for (const sample of Object.keys(samples)) {
    const family = familyOf(sample, catalog);
    const held = families.get(family);
    if (held) held.push(sample);
    else families.set(family, [sample]);
  }
  const lines: string[] = [];
  for (const family of [...families.keys()].sort()) {
    const info = catalog[family];
    if (info) lines.push(`# HELP ${family} ${info.help}`);
    lines.push(`# TYPE ${family} ${info?.kind ?? "untyped"}`);
    for (const sample of families.get(family)!.sort(bySortKey)) lines.push(`${sample} ${samples[sample]}`);
  }
  return `${lines.join("\n")}\n`;
}
