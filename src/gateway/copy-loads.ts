// Which copy of a shard a read goes to, from how those before it went.
// Guarantees: of two copies drawn at random the less loaded is taken, so that one ten times slower gets few reads, and is tried again after
// a while; a second request goes out when the first takes longer than nearly all do. Must not: do I/O.

/** What is known of a copy fades by half in this time: one that was slow is tried again. Ms. */
const HALF_LIFE_MS = 10_000;
/** Weight of a new time in the mean; a longer one counts at once. */
const WEIGHT = 0.2;
/** The share of reads that are answered before a second request goes out. */
const HEDGED_SHARE = 0.95;
const MIN_HEDGE_MS = 2;
const MAX_HEDGE_MS = 2000;
/** Copies that are remembered; all are forgotten beyond it. */
const MAX_COPIES = 10_000;

interface Load {
  /** Mean time of an answer. Ms. */
  meanMs: number;
  /** When the mean was last brought up to date. */
  atMs: number;
  inFlight: number;
}

export interface CopyLoadsOptions {
  readonly now: () => number;
  /** [0, 1) */
  readonly random: () => number;
}

export class CopyLoads {
  readonly #options: CopyLoadsOptions;
  readonly #loads = new Map<string, Load>();
  /** About the time within which HEDGED_SHARE of the answers came. Ms. */
  #usualMs = 20;

  constructor(options: CopyLoadsOptions) {
    this.#options = options;
  }

  get hedgeAfterMs(): number {
    return Math.min(MAX_HEDGE_MS, Math.max(MIN_HEDGE_MS, this.#usualMs));
  }

  /** The less loaded of two. */
  pick(copies: readonly string[]): string {
    const { random } = this.#options;
    if (copies.length === 1) return copies[0]!;
    const first = Math.floor(random() * copies.length);
    const second = (first + 1 + Math.floor(random() * (copies.length - 1))) % copies.length;
    const [a, b] = [copies[first]!, copies[second]!];
    return this.#cost(a) <= this.#cost(b) ? a : b;
  }

  #cost(copy: string): number {
    const load = this.#loads.get(copy);
    return load ? this.#fadedMs(load) * (load.inFlight + 1) : 0;
  }

  #fadedMs({ meanMs, atMs }: Load): number {
    return meanMs * 0.5 ** ((this.#options.now() - atMs) / HALF_LIFE_MS);
  }

  /** A request goes out. Call the result when it is answered (false: it failed). */
  begin(copy: string): (isGood: boolean) => void {
    if (this.#loads.size > MAX_COPIES) this.#loads.clear();
    let load = this.#loads.get(copy);
    if (!load) {
      load = { meanMs: 0, atMs: this.#options.now(), inFlight: 0 };
      this.#loads.set(copy, load);
    }
    load.inFlight++;
    const startedMs = this.#options.now();
    const own = load;
    return (isGood) => {
      own.inFlight--;
      this.#took(own, this.#options.now() - startedMs, isGood);
    };
  }

  #took(load: Load, tookMs: number, isGood: boolean): void {
    const ms = isGood ? tookMs : Math.max(tookMs, MAX_HEDGE_MS);
    const fadedMs = this.#fadedMs(load);
    load.meanMs = ms > fadedMs ? ms : fadedMs + (ms - fadedMs) * WEIGHT;
    load.atMs = this.#options.now();
    if (!isGood) return;
    // Up by what is rare, down by what is usual: it rests where HEDGED_SHARE of the times lie below.
    const step = Math.max(0.2, this.#usualMs * 0.2);
    this.#usualMs += ms > this.#usualMs ? step * HEDGED_SHARE : -step * (1 - HEDGED_SHARE);
    this.#usualMs = Math.min(MAX_HEDGE_MS, Math.max(0.5, this.#usualMs));
  }
}

export interface CopyReadOptions<T> {
  readonly loads: CopyLoads;
  /** At least one, the leader among them. */
  readonly copies: readonly string[];
  readonly leader: string;
  /** Undefined: this copy cannot show what was asked for. */
  readonly ask: (copy: string) => Promise<T | undefined>;
  readonly after: (ms: number, run: () => void) => () => void;
}

/**
 * The first good answer of a copy, of a second one that is asked when the first is slow or cannot say, and then of the leader; where that
 * is away or says nothing, of any other.
 * @throws what the last call threw
 */
export function readCopies<T>({ loads, copies, leader, ask, after }: CopyReadOptions<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const left = new Set(copies).add(leader);
  let underWay = 0;
  let failure: unknown;
  let cancelTimer = (): void => undefined;
  const next = (): string | undefined => {
    const others = [...left];
    return others.length === 0 ? undefined : loads.pick(others);
  };
  const send = (copy: string): void => {
    left.delete(copy);
    underWay++;
    const done = loads.begin(copy);
    ask(copy).then(
      (answer) => {
        done(answer !== undefined);
        if (answer === undefined) return instead();
        cancelTimer();
        resolve(answer);
      },
      (error: unknown) => {
        done(false);
        failure = error;
        instead();
      },
    );
  };
  // What one copy could not say its leader can: no third copy is tried before it. Where the leader is away, too, each of the others is.
  const instead = (): void => {
    underWay--;
    if (left.has(leader)) return send(leader);
    if (underWay > 0) return;
    const copy = next();
    if (copy === undefined) reject(failure ?? new Error("no copy answers"));
    else send(copy);
  };
  const hedge = (ms: number): void => {
    cancelTimer = after(ms, () => {
      const copy = next();
      if (copy === undefined) return;
      send(copy);
      hedge(MAX_HEDGE_MS);
    });
  };
  send(next()!);
  hedge(loads.hedgeAfterMs);
  promise.then(
    () => cancelTimer(),
    () => cancelTimer(),
  );
  return promise;
}
