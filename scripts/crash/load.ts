// Concurrent clients of a crash run: each lane owns keys, writes and reads them through the SDK one after the other, and remembers.
// Guarantees: everything is decided by the seed but the timing; after a crash each unfinished write is retried under its write id or
// given up; some acknowledged writes are repeated later under their write id, which must change nothing.

import { setTimeout as sleep } from "node:timers/promises";
import { isJadeError, type JadeClient } from "../../src/client/index.ts";
import type { BatchResult, ClockMap } from "../../src/client/types.ts";
import { seededRandom } from "../lib/seeded.mjs";
import { KeyHistory, shownBy, type WriteOp } from "./history.ts";

interface Attempt {
  readonly ops: readonly { readonly history: KeyHistory; readonly op: WriteOp }[];
  readonly writeId: string;
  readonly clock: ClockMap | undefined;
}

export interface LoadCounts {
  acknowledged: number;
  unknown: number;
  retried: number;
  abandoned: number;
  repeated: number;
  reads: number;
  /** Calls that failed for want of replicas while the server ran. */
  unavailable: number;
}

/** Answers that too few replicas came in time: asked again. */
const TRANSIENT = new Set<string>([
  "quorumUnavailable",
  "unknownOutcome",
  "unavailable",
  "overloaded",
  "timedOut",
  "dataCorrupt",
]);
const RETRY_PAUSE_MS = 50;
/** How long reading back may be answered so. Ms. */
const VERIFY_PATIENCE_MS = 90_000;

export interface LaneOptions {
  readonly number: number;
  readonly seed: number;
  readonly keyCount: number;
  readonly maxValueBytes: number;
  readonly counts: LoadCounts;
  readonly problem: (text: string) => void;
  /** Failures that say nothing about what is stored, besides those of a server that runs. */
  readonly alsoTransient?: readonly string[];
}

export class Lane {
  readonly keys: KeyHistory[];
  readonly #random: () => number;
  readonly #options: LaneOptions;
  #writes = 0;
  #unfinished: Attempt | undefined;
  /** An acknowledged write and its answer, to be repeated. */
  #answered: { readonly attempt: Attempt; readonly clock: string } | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed * 1000 + options.number);
    this.keys = Array.from({ length: options.keyCount }, (_, i) => new KeyHistory(`lane ${options.number}/${i}`));
  }

  #pick(count: number): number {
    return Math.floor(this.#random() * count);
  }

  #writeId(): string {
    return Array.from({ length: 32 }, () => this.#pick(16).toString(16)).join("");
  }

  #newOp(): WriteOp {
    const id = `${this.#options.number}.${++this.#writes}`;
    if (this.#random() < 0.15) return { id, value: undefined };
    const length = 20 + this.#pick(this.#options.maxValueBytes);
    return { id, value: `${id} `.repeat(Math.ceil(length / (id.length + 1))) };
  }

  /** Works until `isStopped`; what is under way when the server dies stays unfinished. */
  async run(client: JadeClient, isStopped: () => boolean): Promise<void> {
    await this.#settle(client, isStopped);
    while (!isStopped()) {
      if (this.#unfinished) await sleep(RETRY_PAUSE_MS).then(() => this.#settle(client, isStopped));
      else await this.#step(client, isStopped);
    }
  }

  /** A failure that says nothing about what is stored: the machine may be slow. Anything else is a problem. */
  #failed(what: string, error: unknown, isStopped: () => boolean): void {
    if (isStopped()) return;
    const { alsoTransient = [] } = this.#options;
    if (isJadeError(error) && (TRANSIENT.has(error.code) || alsoTransient.includes(error.code)))
      this.#options.counts.unavailable++;
    else this.#options.problem(`${what} failed: ${error}`);
  }

  async #settle(client: JadeClient, isStopped: () => boolean): Promise<void> {
    const attempt = this.#unfinished;
    if (!attempt) return;
    if (this.#random() < 0.3) {
      this.#unfinished = undefined;
      this.#options.counts.abandoned++;
      for (const { history, op } of attempt.ops) history.abandoned(op);
      return;
    }
    this.#options.counts.retried++;
    await this.#write(client, attempt, { isRetry: true, isStopped });
  }

  async #step(client: JadeClient, isStopped: () => boolean): Promise<void> {
    const choice = this.#random();
    const history = this.keys[this.#pick(this.keys.length)]!;
    if (choice < 0.2) return this.#read(client, history, isStopped).then(() => undefined);
    if (choice < 0.25) return this.#repeat(client, isStopped);
    if (choice < 0.35) {
      const chosen = [...new Set(Array.from({ length: 5 }, () => this.keys[this.#pick(this.keys.length)]!))];
      const ops = chosen.map((each) => ({ history: each, op: this.#newOp() }));
      return this.#write(client, { ops, writeId: this.#writeId(), clock: undefined }, { isRetry: false, isStopped });
    }
    const clock = choice < 0.5 ? await this.#read(client, history, isStopped) : undefined;
    const attempt = { ops: [{ history, op: this.#newOp() }], writeId: this.#writeId(), clock };
    await this.#write(client, attempt, { isRetry: false, isStopped });
  }

  async #read(client: JadeClient, history: KeyHistory, isStopped: () => boolean): Promise<ClockMap | undefined> {
    try {
      const read = await client.kv.get(history.key, { consistency: "quorum" });
      this.#options.counts.reads++;
      const problem = history.problem(shownBy(read));
      if (problem) this.#options.problem(`${history.key}: ${problem}`);
      return read.vectorClock;
    } catch (error) {
      this.#failed(`${history.key}: a read`, error, isStopped);
      return undefined;
    }
  }

  /** An acknowledged write again: the same answer, and no effect (the next read of the key tells). */
  async #repeat(client: JadeClient, isStopped: () => boolean): Promise<void> {
    const before = this.#answered;
    if (!before) return;
    try {
      const [clock = ""] = (await this.#send(client, before.attempt, true)).map((each) => JSON.stringify(each));
      this.#options.counts.repeated++;
      if (clock !== before.clock)
        this.#options.problem(`a repeated write got ${clock}, the first answer was ${before.clock}`);
    } catch (error) {
      this.#failed("a repeated write", error, isStopped);
    }
  }

  async #write(
    client: JadeClient,
    attempt: Attempt,
    { isRetry, isStopped }: { readonly isRetry: boolean; readonly isStopped: () => boolean },
  ): Promise<void> {
    this.#unfinished = attempt;
    try {
      const clocks = await this.#send(client, attempt, isRetry);
      this.#unfinished = undefined;
      this.#options.counts.acknowledged += attempt.ops.length;
      for (const [i, { history, op }] of attempt.ops.entries()) history.succeeded(op, clocks[i]);
      if (attempt.ops.length === 1 && this.#random() < 0.2)
        this.#answered = { attempt, clock: JSON.stringify(clocks[0]) };
    } catch (error) {
      this.#options.counts.unknown += attempt.ops.length;
      this.#failed("a write", error, isStopped);
    }
  }

  /** Gives the clock of each answer. A batch counts as answered when every operation is: its retry is one, too. */
  async #send(client: JadeClient, { ops, writeId, clock }: Attempt, mayHaveBeenSent: boolean): Promise<ClockMap[]> {
    const options = { writeId, mayHaveBeenSent, consistency: "quorum" as const };
    if (ops.length === 1) {
      const { history, op } = ops[0]!;
      const result =
        op.value === undefined
          ? await client.kv.delete(history.key, { ...options, clock })
          : await client.kv.put(history.key, op.value, { ...options, clock });
      return [result.vectorClock];
    }
    const results = await client.kv.batch(
      ops.map(({ history, op }) =>
        op.value === undefined
          ? { op: "delete" as const, key: history.key }
          : { op: "put" as const, key: history.key, value: op.value },
      ),
      options,
    );
    return results.map((result) => {
      if (!result.ok) throw result.error;
      if (result.op === "get") throw new Error("a write was answered as a read");
      return result.result.vectorClock;
    });
  }

  /** Reads every key of the lane back. `unfinished` writes may show or not. */
  async verify(client: JadeClient): Promise<void> {
    const end = performance.now() + VERIFY_PATIENCE_MS;
    let due: readonly KeyHistory[] = this.keys;
    while (due.length > 0) {
      const gets = due.map(({ key }) => ({ op: "get" as const, key }));
      const results = await client.kv.batch(gets, { consistency: "quorum" });
      const again: KeyHistory[] = [];
      for (const [i, result] of results.entries()) {
        const history = due[i]!;
        if (result.ok) this.#judge(history, result);
        else if (TRANSIENT.has(result.error.code) && performance.now() < end) again.push(history);
        else this.#options.problem(`${history.key}: reading it back failed: ${result.error}`);
      }
      this.#options.counts.unavailable += again.length;
      due = again;
      if (due.length > 0) await sleep(RETRY_PAUSE_MS);
    }
  }

  #judge(history: KeyHistory, result: BatchResult & { readonly ok: true }): void {
    if (result.op !== "get") return;
    this.#options.counts.reads++;
    const open = this.#unfinished?.ops.find((each) => each.history === history);
    const problem = history.problem(shownBy(result.result), open?.op);
    if (problem) this.#options.problem(`${history.key}: ${problem}`);
  }
}
