// For tests of the way to one replica: a replica that answers, fails, stalls and babbles when the test says so.

import {
  type RefusalCode,
  type ReplicaOp,
  type ReplicaResult,
  readOps,
  writeResult,
} from "../../../src/replication/frames.ts";
import { type Environment, ReplicaLink } from "../../../src/replication/link.ts";
import { ByteWriter } from "../../../src/wire/bytes.ts";
import { EMPTY_CLOCK } from "../../../src/wire/clock.ts";

export const ROW = { tenant: 1, token: { hi: 1, lo: 2 }, key: "k" };
export const GET: ReplicaOp = { kind: "get", row: ROW };
export const STAMP: ReplicaOp = {
  kind: "stamp",
  row: ROW,
  writeId: new Uint8Array(16),
  value: new Uint8Array(1),
  clock: undefined,
  restamp: false,
  supersedeAll: false,
};
export const TIMEOUT_MS = 100;

export interface Sent {
  readonly ops: readonly ReplicaOp[];
  readonly frameBytes: number;
  answer(change?: (frame: Uint8Array) => Uint8Array): void;
  fail(): void;
}

/** A hand-driven environment: time, timers, turns and answers happen when the test says so. */
export class Bench implements Environment {
  readonly replicaTimeoutMs = TIMEOUT_MS;
  leastPatienceMs: number | undefined;
  awayFromMs: number | undefined;
  readonly sent: Sent[] = [];
  nowMs = 0;
  replicaMs = 5000;
  /** So many of the last operations of a frame are refused, as this. */
  deferred = 0;
  refusal: RefusalCode = "deferred";
  #turn: (() => void)[] = [];
  #timers: { atMs: number; run: () => void }[] = [];
  readonly link = new ReplicaLink("n1", this);
  readonly results: (ReplicaResult | undefined)[][] = [];

  readonly now = (): number => this.nowMs;

  awaySinceMs(): number | undefined {
    return this.awayFromMs;
  }

  schedule(run: () => void): void {
    this.#turn.push(run);
  }

  setTimer(delayMs: number, run: () => void): unknown {
    const timer = { atMs: this.nowMs + delayMs, run };
    this.#timers.push(timer);
    return timer;
  }

  clearTimer(timer: unknown): void {
    this.#timers = this.#timers.filter((one) => one !== timer);
  }

  call(_: string, frame: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const ops = readOps(frame);
      this.sent.push({
        ops,
        frameBytes: frame.length,
        answer: (change = (same) => same) => {
          const writer = new ByteWriter(64);
          for (const field of [4097, 10, this.replicaMs]) writer.varint(field);
          for (const [i, op] of ops.entries()) {
            const isDeferred = ops.length - i <= this.deferred;
            if (isDeferred) writeResult(writer, { kind: "refused", code: this.refusal, clock: EMPTY_CLOCK });
            else writeResult(writer, op.kind === "get" ? { kind: "state", state: undefined } : { kind: "done" });
          }
          resolve(change(writer.take()));
        },
        fail: () => reject(new Error("away")),
      });
    });
  }

  /** Sends and remembers every answer the callback ever gets. */
  send(op: ReplicaOp): (ReplicaResult | undefined)[] {
    const got: (ReplicaResult | undefined)[] = [];
    this.results.push(got);
    this.link.send(op, (result) => got.push(result));
    return got;
  }

  async turn(): Promise<void> {
    for (let i = 0; i < 4; i++) {
      const due = this.#turn;
      this.#turn = [];
      for (const run of due) run();
      await Promise.resolve();
      await Promise.resolve();
    }
  }

  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    const due = this.#timers.filter((timer) => timer.atMs <= this.nowMs);
    this.#timers = this.#timers.filter((timer) => timer.atMs > this.nowMs);
    for (const timer of due) timer.run();
    await this.turn();
  }
}
