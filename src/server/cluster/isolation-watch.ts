// Looks every few seconds whether the others reach this instance's leaders, and lets these rest where they do not (cluster/isolation.ts).
// The instances tell each other whom they reach by files in the bucket, which each reads and writes through its own leaders' process: so what
// is seen is seen by one that the bucket is in reach of, and nothing is done while it is not.
// An instance that the others cannot reach at all, as gossip tells, is given no work either.
// Guarantees: one look at a time; a look that fails says nothing. Must not: end anything but the leaders' process.
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { DrainPlan, isCutOff, isUnheard, type PeerReport, RestPlan } from "../../cluster/isolation.ts";

const LOOK_EVERY_MS = 3000;
const ASK_TIMEOUT_MS = 2000;

export interface Board {
  /** Undefined = there is none. Throws when the bucket cannot be asked. */
  read(zone: string): Promise<PeerReport | undefined>;
  write(report: PeerReport): Promise<void>;
}

/** The bucket, as the leaders' process offers it on a unix socket. */
export function boardAt(socketPath: string): Board {
  const ask = (method: string, zone: string, body?: string): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
      const headers = { host: "board", ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }) };
      const asking = request({ socketPath, method, path: `/${zone}.json`, headers, signal }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text })).on("error", reject);
      });
      asking.on("error", reject).end(body);
    });
  return {
    async read(zone) {
      const { status, text } = await ask("GET", zone);
      if (status === 404) return undefined;
      if (status !== 200) throw new Error(`the bucket answered ${status}`);
      return JSON.parse(text) as PeerReport;
    },
    async write(report) {
      const { status } = await ask("PUT", report.zone, JSON.stringify(report));
      if (status >= 300) throw new Error(`the bucket answered ${status}`);
    },
  };
}

/** Whether anything answers HTTP there. */
export async function reachesLeaders(address: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${address}/ready`, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    await response.arrayBuffer();
    return true;
  } catch {
    return false; // refused, cut, or too slow to be of use
  }
}

export interface IsolationWatchOptions {
  readonly zone: string;
  readonly zones: readonly string[];
  /** Of this instance's leaders, as others reach them; undefined = they do not run. */
  readonly address: () => string | undefined;
  readonly board: Board;
  readonly reaches: (address: string) => Promise<boolean>;
  /** Zones that this instance has part in the gossip with, its own among them. */
  readonly together: () => readonly string[];
  /** From now on it is to be given no work, and why; null = it is. */
  readonly drain: (why: string | null) => void;
  readonly now: () => number;
  readonly rest: () => void;
  readonly wake: () => void;
  readonly report: (line: string) => void;
}

/** What a look at the board shows. */
interface Look {
  readonly isCut: boolean;
  readonly isUnheard: boolean;
}

export class IsolationWatch {
  readonly #options: IsolationWatchOptions;
  readonly #plan = new RestPlan();
  readonly #drains = new DrainPlan();
  #isResting = false;
  #isDrained = false;

  constructor(options: IsolationWatchOptions) {
    this.#options = options;
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look();
      await sleep(LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async look(): Promise<void> {
    const seen = this.#isResting ? undefined : await this.#see().catch(() => undefined);
    this.#drainOrNot(seen);
    this.#restOrNot(seen);
  }

  #restOrNot(seen: Look | undefined): void {
    const { zone, now, rest, wake, report } = this.#options;
    const isToRest = this.#plan.observe(seen?.isCut, now()) === "rest";
    if (isToRest === this.#isResting) return;
    this.#isResting = isToRest;
    if (isToRest) {
      report(`the other instances cannot reach the leaders of ${zone}, and the bucket can: handing them over`);
      rest();
    } else {
      report(`the leaders of ${zone} try again`);
      wake();
    }
  }

  /** Who has part with most of all instances needs no bucket to know that it is not cut off. */
  #drainOrNot(seen: Look | undefined): void {
    const { zone, zones, together, now, drain, report } = this.#options;
    const isWithMost = together().length * 2 > zones.length;
    const isDrained = this.#drains.observe(isWithMost ? false : seen?.isUnheard, now());
    if (isDrained === this.#isDrained) return;
    this.#isDrained = isDrained;
    const why = `the other instances cannot reach ${zone}, and the bucket can`;
    report(isDrained ? `${why}: not ready until they do` : `the other instances reach ${zone} again`);
    drain(isDrained ? why : null);
  }

  /** Undefined = the leaders do not run. Throws when the bucket is out of reach. */
  async #see(): Promise<Look | undefined> {
    const { zone, zones, board, reaches, together, now } = this.#options;
    const address = this.#options.address();
    if (address === undefined) return undefined;
    const others = await Promise.all(zones.filter((other) => other !== zone).map((other) => board.read(other)));
    const known = others.filter((other) => other !== undefined);
    const reached = await Promise.all(known.map((other) => reaches(other.address)));
    const own: PeerReport = {
      zone,
      address,
      atMs: now(),
      reaches: known.filter((_, index) => reached[index]).map((other) => other.zone),
      hears: together(),
    };
    await board.write(own);
    const reports = { reports: [own, ...known], nowMs: now() };
    return { isCut: isCutOff(zone, reports), isUnheard: isUnheard(zone, reports) };
  }
}
