// Gives a hub its turns: catching up in slices, a look at those who do not read, progress notices.
// Guarantees: no timer while there is nothing to do, so that an object may sleep: without a change there is no progress to tell.
// Must not: send within a turn that writes.
import { PROGRESS_EVERY_MS, WATCH_STALL_MS } from "./limits.ts";
import type { WatchHub } from "./watch-hub.ts";

/** How often connections that do not read are looked after. Ms. */
const SWEEP_EVERY_MS = WATCH_STALL_MS / 12;

export class WatchRunner {
  readonly #hub: WatchHub;
  readonly #later: (delayMs: number, run: () => void) => void;
  #isStepping = false;
  #isSweeping = false;
  #isNotifying = false;

  /** `later`: not within a turn that writes. */
  constructor(hub: WatchHub, later: (delayMs: number, run: () => void) => void) {
    this.#hub = hub;
    this.#later = later;
  }

  /** After each turn with changes. */
  flush(): void {
    this.#hub.flush();
    this.schedule();
    if (this.#isNotifying || !this.#hub.hasNotified) return;
    this.#isNotifying = true;
    this.#later(PROGRESS_EVERY_MS, () => {
      this.#isNotifying = false;
      this.#hub.notify();
    });
  }

  /** After each request. */
  schedule(): void {
    if (this.#hub.isBehind && !this.#isStepping) {
      this.#isStepping = true;
      this.#later(0, () => {
        this.#isStepping = false;
        this.#hub.step();
        this.schedule();
      });
    }
    if (!this.#hub.hasWaiting || this.#isSweeping) return;
    this.#isSweeping = true;
    this.#later(SWEEP_EVERY_MS, () => {
      this.#isSweeping = false;
      this.#hub.sweep();
      this.schedule();
    });
  }
}
