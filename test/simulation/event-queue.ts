// Virtual time of a simulated world: what happens when, in one fixed order.
// Guarantees: events run by time, those of one time in the order they were made; between two all promises that wait have run on.
// Must not: know what an event does.

export interface Event {
  readonly atMs: number;
  readonly run: () => void;
  cancelled: boolean;
}

export class EventQueue {
  nowMs: number;
  /** Asked after each event; true ends `run` at once. */
  isOver: (() => boolean) | undefined;
  readonly #leastTicks: number;
  #ticks: number;
  /** By time, then by age. */
  readonly #events: Event[] = [];

  /** `leastTicks`: turns of the microtask queue after every event. */
  constructor(startMs: number, leastTicks: number) {
    this.nowMs = startMs;
    this.#leastTicks = leastTicks;
    this.#ticks = leastTicks;
  }

  after(delayMs: number, run: () => void): Event {
    const event = { atMs: this.nowMs + delayMs, run, cancelled: false };
    let at = this.#events.length;
    while (at > 0 && this.#events[at - 1]!.atMs > event.atMs) at--;
    this.#events.splice(at, 0, event);
    return event;
  }

  /** The event that runs settles a promise: so many turns of the microtask queue until all that waits for it has run. */
  settles(ticks: number): void {
    this.#ticks = Math.max(this.#ticks, ticks);
  }

  /** Runs events until `forMs` of virtual time has passed. */
  async run(forMs: number): Promise<void> {
    const endMs = this.nowMs + forMs;
    for (let event = this.#events[0]; event && event.atMs <= endMs; event = this.#events[0]) {
      this.#events.shift();
      if (event.cancelled) continue;
      this.nowMs = event.atMs;
      event.run();
      for (; this.#ticks > 0; this.#ticks--) await null;
      this.#ticks = this.#leastTicks;
      if (this.isOver?.()) return;
    }
    this.nowMs = endMs;
  }
}
