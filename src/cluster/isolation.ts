// Whether an instance's leaders are cut off from the others although the bucket is in reach: then nobody takes them over, for ever, and the
// others cannot call them. Who is cut off gives them up by itself.
// Guarantees: pure; of instances that see each other differently exactly one group stays, the largest one; a short cut drains nobody, and who
// comes back too early waits longer each time. Must not: judge instances that do not report; they are away, and their lease ends.

/** What an instance wrote into the bucket of the others. */
export interface PeerReport {
  readonly zone: string;
  /** By its own clock, which agrees with the bucket's within some seconds. */
  readonly atMs: number;
  /** Where its leaders can be called. */
  readonly address: string;
  /** Zones whose leaders it has just reached. */
  readonly reaches: readonly string[];
  /** Zones that it has part in the gossip with; missing = one of a version that does not say. */
  readonly hears?: readonly string[] | undefined;
}

/** Older ones are of instances that are away. */
export const REPORT_FRESH_MS = 12_000;
/** A cut that lasts so long is acted on. */
export const CUT_OFF_MS = 12_000;
/** Before the first new attempt; twice as long with each that follows, up to the longest. */
export const FIRST_REST_MS = 30_000;
export const LONGEST_REST_MS = 480_000;
/** Not cut off for so long: the next rest is a first one again. */
const GOOD_MS = 600_000;

/** Natural order: z2 before z10. */
function byZone(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

type Sees = (report: PeerReport, zone: string) => boolean;

const hears: Sees = (report, zone) => report.hears?.includes(zone) ?? true;
const reaches: Sees = (report, zone) => report.reaches.includes(zone) && hears(report, zone);

/** Groups of instances that see each other, both ways, directly or through others; the one that stays first. */
function groupsOf(reports: readonly PeerReport[], sees: Sees): string[][] {
  const byName = new Map(reports.map((report) => [report.zone, report]));
  const isLinked = (a: PeerReport, b: PeerReport): boolean => sees(a, b.zone) && sees(b, a.zone);
  const left = new Set(byName.keys());
  const groups: string[][] = [];
  for (const zone of byName.keys()) {
    if (!left.delete(zone)) continue;
    const group = [zone];
    for (const member of group)
      for (const other of left)
        if (isLinked(byName.get(member)!, byName.get(other)!) && left.delete(other)) group.push(other);
    groups.push(group.sort(byZone));
  }
  return groups.sort((a, b) => b.length - a.length || byZone(a[0]!, b[0]!));
}

function isOutside(zone: string, { reports, nowMs, sees }: Reports & { readonly sees: Sees }): boolean {
  const fresh = reports.filter((report) => report.zone === zone || nowMs - report.atMs <= REPORT_FRESH_MS);
  return groupsOf(fresh, sees)[0]?.includes(zone) === false;
}

export interface Reports {
  /** The instance's own among them. */
  readonly reports: readonly PeerReport[];
  readonly nowMs: number;
}

/** True when another group of leaders stays. */
export function isCutOff(zone: string, reports: Reports): boolean {
  return isOutside(zone, { ...reports, sees: reaches });
}

/** True when the others, whoever leads them, cannot reach this instance at all. */
export function isUnheard(zone: string, reports: Reports): boolean {
  return isOutside(zone, { ...reports, sees: hears });
}

/** Whether an instance is given work: not while it is cut off by gossip, for as long as leaders would rest for. */
export class DrainPlan {
  #cutSinceMs: number | undefined;
  #isDrained = false;

  /** After each look; `isCut` undefined = nothing could be seen, and nothing changes. */
  observe(isCut: boolean | undefined, nowMs: number): boolean {
    if (isCut === undefined) {
      this.#cutSinceMs = undefined;
      return this.#isDrained;
    }
    if (!isCut) this.#cutSinceMs = undefined;
    else this.#cutSinceMs ??= nowMs;
    this.#isDrained = isCut && (this.#isDrained || nowMs - this.#cutSinceMs! >= CUT_OFF_MS);
    return this.#isDrained;
  }
}

export type Verdict = "serve" | "rest";

/** When leaders rest, and for how long. */
export class RestPlan {
  #cutSinceMs: number | undefined;
  #restUntilMs: number | undefined;
  #lastCutMs = Number.NEGATIVE_INFINITY;
  #restMs = FIRST_REST_MS;

  /** After each look at the reports; `isCut` undefined = nothing could be seen. */
  observe(isCut: boolean | undefined, nowMs: number): Verdict {
    if (this.#restUntilMs !== undefined) {
      if (nowMs < this.#restUntilMs) return "rest";
      this.#restUntilMs = undefined;
      this.#cutSinceMs = undefined;
      return "serve";
    }
    if (isCut !== true) {
      this.#cutSinceMs = undefined;
      if (nowMs - this.#lastCutMs > GOOD_MS) this.#restMs = FIRST_REST_MS;
      return "serve";
    }
    this.#lastCutMs = nowMs;
    this.#cutSinceMs ??= nowMs;
    if (nowMs - this.#cutSinceMs < CUT_OFF_MS) return "serve";
    this.#restUntilMs = nowMs + this.#restMs;
    this.#restMs = Math.min(LONGEST_REST_MS, this.#restMs * 2);
    return "rest";
  }
}
