// Prints results for people.

import Table from "cli-table3";

/** Three significant digits, thousands grouped. */
export function round(value) {
  if (!Number.isFinite(value)) return "-";
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
}

export function printTable(rows) {
  const table = new Table({
    head: [
      "id",
      "what",
      "per second",
      "baseline",
      "ratio",
      "target",
      "ok",
      "p50 ms",
      "p99 ms",
      "errors",
      "server cores",
    ],
    colAligns: ["left", "left", "right", "right", "right", "right", "left", "right", "right", "right", "right"],
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) {
    table.push([
      row.id,
      row.title,
      round(row.value),
      round(row.baseline),
      `${row.ratio.toFixed(2)} x`,
      row.target === null ? "" : `${row.target} x`,
      row.ok ? "ok" : "MISSED",
      row.p50Ms.toFixed(2),
      row.p99Ms.toFixed(2),
      row.errors,
      row.serverCpu.toFixed(2),
    ]);
  }
  console.log(table.toString());
}

/** Rows of {id, title, value, unit, baseline, ratio, target, ok} in units of their own. */
export function printComparison(rows) {
  const table = new Table({
    head: ["id", "what", "ours", "etcd", "ratio", "target", "ok", "unit"],
    colAligns: ["left", "left", "right", "right", "right", "right", "left", "left"],
    style: { head: [], border: [], compact: true },
  });
  for (const { id, title, value, unit, baseline, ratio, target, ok } of rows) {
    const hasBaseline = Number.isFinite(baseline);
    const shown = [round(value), round(baseline), hasBaseline ? `${ratio.toFixed(2)} x` : ""];
    table.push([id, title, ...shown, target === null ? "" : target, ok ? "ok" : "MISSED", unit]);
  }
  console.log(table.toString());
}

export const atLeast = (value, least) => ({ target: `≥ ${least}`, ok: value >= least });
export const atMost = (value, most) => ({ target: `≤ ${most}`, ok: value <= most });

/** A row for {@link printLines}; it has no target unless it is judged. */
export const lineOf = (id, what, value, unit, judged) => ({ id, what, value, unit, target: null, ok: true, ...judged });

/** Rows of {what, value, unit, ratio, target, ok}, the target in words. `against`: what the ratio is to. */
export function printLines(lines, against) {
  const table = new Table({
    head: ["what", "value", ...(against ? [against] : []), "target", "ok"],
    style: { head: [], border: [], compact: true },
  });
  for (const { what, value, unit, ratio, target, ok } of lines)
    table.push([
      what,
      value === undefined ? "not reached" : `${round(value)} ${unit}`,
      ...(against ? [ratio === undefined ? "" : ratio.toFixed(2)] : []),
      target ?? "",
      ok ? "ok" : "MISSED",
    ]);
  console.log(table.toString());
}
