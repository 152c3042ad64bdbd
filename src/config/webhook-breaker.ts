// Per target host: after failures in a row nobody asks it for a while, then one request tries.
// Guarantees: one probe at a time while a target is out; bounded memory. Must not: read clocks.
import { BREAKER_FAILURES, BREAKER_OPEN_MS, MAX_BREAKER_TARGETS } from "./limits.ts";

interface Standing {
  failuresInRow: number;
  /** 0 = closed. */
  openUntilMs: number;
}

export class TargetBreakers {
  readonly #targets = new Map<string, Standing>();
  readonly #openMs: number;

  constructor(openMs = BREAKER_OPEN_MS) {
    this.#openMs = openMs;
  }

  /** 0 = the target may be asked, which the caller then does; else when to come back. Ms. */
  admit(target: string, nowMs: number): number {
    const standing = this.#targets.get(target);
    if (!standing || standing.openUntilMs === 0) return 0;
    if (nowMs < standing.openUntilMs) return standing.openUntilMs;
    // The caller is the probe: others wait for its outcome, or for as long again.
    standing.openUntilMs = nowMs + this.#openMs;
    return 0;
  }

  succeeded(target: string): void {
    this.#targets.delete(target);
  }

  failed(target: string, nowMs: number): void {
    const standing = this.#targets.get(target) ?? { failuresInRow: 0, openUntilMs: 0 };
    // The one that failed longest ago goes: forgetting means that it is asked again.
    this.#targets.delete(target);
    this.#targets.set(target, standing);
    if (this.#targets.size > MAX_BREAKER_TARGETS) this.#targets.delete(this.#targets.keys().next().value!);
    standing.failuresInRow++;
    if (standing.failuresInRow >= BREAKER_FAILURES) standing.openUntilMs = nowMs + this.#openMs;
  }
}
