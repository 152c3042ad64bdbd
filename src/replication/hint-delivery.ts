// Brings hints to their targets once these answer again.
// Guarantees: a hint is dropped only after its target acknowledged it (or its tenant is gone); one frame per target at a time;
// a target that does not answer is offered hints ever more rarely; one that the target cannot take because its copy is unreadable
// waits without holding up those behind it. Must not: reorder hints of a key.

import type { AtFailPoint } from "../storage/state.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { readResult, writeOp } from "./frames.ts";
import type { HintBatch } from "./hint-log.ts";
import { HINT_RETRY_MAX_MS, HINT_RETRY_MIN_MS, PEER_FRAME_LIFE_MS } from "./limits.ts";
import { readAnswerHeader } from "./replica.ts";

/** What delivery needs of the hints kept here ({@link HintLog} in the object). */
export interface HintSource {
  targets(): string[];
  next(target: string, afterId?: number): HintBatch | undefined;
  drop(target: string, lastId: number, kept?: readonly number[]): void;
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
  readonly #atFailPoint: AtFailPoint | undefined;
  readonly #attempts = new Map<string, Attempt>();
  /** The targets' clocks as of their last answers. */
  readonly #clocks = new Map<string, number>();
  #running = false;
  deliveredCount = 0;

  constructor(options: {
    log: HintSource;
    call: (nodeId: string, frame: Uint8Array) => Promise<Uint8Array>;
    now: () => number;
    atFailPoint?: AtFailPoint | undefined;
  }) {
    this.#atFailPoint = options.atFailPoint;
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
    /** Hints the target could not take: the rows they are for are unreadable there. They are offered again once it is healed. */
    const kept: number[] = [];
    let afterId = 0;
    // Its clock first: a frame of hints that comes much later than it was sent is refused.
    if (!(await this.#ask(target, new Uint8Array(0)))) return this.#later(target);
    for (let batch = this.#log.next(target); batch; batch = this.#log.next(target, afterId)) {
      await this.#atFailPoint?.("hint.offering");
      const refused = await this.#offer(target, batch);
      if (!refused) return this.#later(target);
      await this.#atFailPoint?.("hint.delivered");
      kept.push(...refused);
      this.#log.drop(target, batch.lastId, kept);
      this.deliveredCount += batch.hintCount - refused.length;
      afterId = batch.lastId;
      await this.#atFailPoint?.("hint.dropped");
    }
    if (kept.length > 0) this.#later(target);
    else this.#attempts.delete(target);
  }

  #later(target: string): void {
    const delayMs = Math.min((this.#attempts.get(target)?.delayMs ?? HINT_RETRY_MIN_MS / 2) * 2, HINT_RETRY_MAX_MS);
    this.#attempts.set(target, { delayMs, notBeforeMs: this.#now() + delayMs });
  }

  /** The hints that the target cannot take now; undefined = it took none, or it is not known which. */
  async #offer(target: string, { frame, ids }: HintBatch): Promise<number[] | undefined> {
    try {
      const reader = await this.#ask(target, frame);
      if (!reader) return undefined;
      const refused: number[] = [];
      for (const id of ids) {
        const result = readResult(reader);
        if (result.kind !== "refused" || result.code === "tenantErased") continue;
        if (result.code !== "corrupt") return undefined;
        refused.push(id);
      }
      return refused;
    } catch {
      // Its answer was cut: the hints stay and are offered again; merging twice changes nothing.
      return undefined;
    }
  }

  /** Sends a frame and reads the header of its answer; undefined where there is none. */
  async #ask(target: string, frame: Uint8Array): Promise<ByteReader | undefined> {
    const clock = this.#clocks.get(target);
    const writer = new ByteWriter(frame.length + 16);
    writer.raw(frame);
    writeOp(writer, { kind: "deadline", atMs: clock === undefined ? 0 : clock + PEER_FRAME_LIFE_MS });
    this.#clocks.delete(target);
    try {
      const reader = new ByteReader(await this.#call(target, writer.take()));
      this.#clocks.set(target, readAnswerHeader(reader).nowMs);
      return reader;
    } catch {
      // The target is away, or its answer is none: the hints stay and are offered again.
      return undefined;
    }
  }
}
