// Brings hints to their targets once these answer again.
// Guarantees: a hint is dropped only after its target acknowledged it (or its tenant is gone); one frame per target at a time;
// a target that does not answer is offered hints ever more rarely. Must not: reorder hints of a target.
import { ByteReader } from "../wire/bytes.ts";
import { readResult } from "./frames.ts";
import type { HintBatch } from "./hint-log.ts";
import { HINT_RETRY_MAX_MS, HINT_RETRY_MIN_MS } from "./limits.ts";
import { readAnswerHeader } from "./replica.ts";

/** What delivery needs of the hints kept here ({@link HintLog} in the object). */
export interface HintSource {
  targets(): string[];
  next(target: string): HintBatch | undefined;
  drop(target: string, lastId: number): void;
  expire(): number;
}

interface Attempt {
  notBeforeMs: number;
  delayMs: number;
}

export class HintDelivery {
  readonly #log: HintSource;
  readonly #call: (nodeId: string, frame: Uint8Array) => Promise<Uint8Array>;
  readonly #now: () => number;
  readonly #attempts = new Map<string, Attempt>();
  #running = false;
  deliveredCount = 0;

  constructor(options: {
    log: HintSource;
    call: (nodeId: string, frame: Uint8Array) => Promise<Uint8Array>;
    now: () => number;
  }) {
    this.#log = options.log;
    this.#call = options.call;
    this.#now = options.now;
  }

  /** When hints should be offered next; undefined = none wait. */
  nextAtMs(): number | undefined {
    let earliest: number | undefined;
    for (const target of this.#log.targets()) {
      const at = this.#attempts.get(target)?.notBeforeMs ?? this.#now() + HINT_RETRY_MIN_MS;
      earliest = earliest === undefined ? at : Math.min(earliest, at);
    }
    return earliest;
  }

  /** Offers what is due, target by target. */
  async run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      this.#log.expire();
      for (const target of this.#log.targets()) {
        const attempt = this.#attempts.get(target);
        if (attempt && attempt.notBeforeMs > this.#now()) continue;
        await this.#deliver(target);
      }
    } finally {
      this.#running = false;
    }
  }

  async #deliver(target: string): Promise<void> {
    for (let batch = this.#log.next(target); batch; batch = this.#log.next(target)) {
      const delivered = await this.#offer(target, batch.frame, batch.hintCount);
      if (!delivered) {
        const delayMs = Math.min((this.#attempts.get(target)?.delayMs ?? HINT_RETRY_MIN_MS / 2) * 2, HINT_RETRY_MAX_MS);
        this.#attempts.set(target, { delayMs, notBeforeMs: this.#now() + delayMs });
        return;
      }
      this.#log.drop(target, batch.lastId);
      this.deliveredCount += batch.hintCount;
    }
    this.#attempts.delete(target);
  }

  async #offer(target: string, frame: Uint8Array, hintCount: number): Promise<boolean> {
    try {
      const reader = new ByteReader(await this.#call(target, frame));
      readAnswerHeader(reader);
      for (let i = 0; i < hintCount; i++) {
        const result = readResult(reader);
        if (result.kind === "refused" && result.code !== "tenantErased") return false;
      }
      return true;
    } catch {
      // The target is away, or its answer was cut: the hints stay and are offered again; merging twice changes nothing.
      return false;
    }
  }
}
