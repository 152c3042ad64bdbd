// Asks one kind of question of one instance again and again, and notes when it was answered: how long a system was away, and for whom.
// Guarantees: one question at a time, none repeated; every answer and failure is noted with its time. Must not: judge what is stored.
import { setTimeout as sleep } from "node:timers/promises";

/** Between an answer and the next question, unless told otherwise. */
const PAUSE_MS = 20;

interface Answer {
  readonly atMs: number;
  readonly tookMs: number;
  readonly isOk: boolean;
  readonly code: string;
}

export interface Away {
  readonly asked: number;
  readonly failed: number;
  /** From the first failure to the last. */
  readonly failingMs: number;
  /** Longest time between two good answers. */
  readonly longestMs: number;
  /** Failures by code. */
  readonly codes: Readonly<Record<string, number>>;
}

export class Prober {
  readonly name: string;
  readonly #ask: (count: number) => Promise<unknown>;
  readonly #pauseMs: number;
  #answers: Answer[] = [];
  #isStopped = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(name: string, ask: (count: number) => Promise<unknown>, pauseMs = PAUSE_MS) {
    this.name = name;
    this.#pauseMs = pauseMs;
    this.#ask = ask;
  }

  start(): void {
    this.#ended = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#ended;
  }

  forgetBefore(beforeMs: number): void {
    this.#answers = this.#answers.filter(({ atMs }) => atMs >= beforeMs);
  }

  /** Good answers to what was asked after that. */
  okSince(sinceMs: number): number {
    return this.#answers.filter(({ atMs, tookMs, isOk }) => isOk && atMs - tookMs > sinceMs).length;
  }

  /** Of what was answered from then on. */
  away(sinceMs: number): Away {
    const answers = this.#answers.filter(({ atMs }) => atMs >= sinceMs);
    const bad = answers.filter(({ isOk }) => !isOk);
    const good = answers.filter(({ isOk }) => isOk).map(({ atMs }) => atMs);
    const codes: Record<string, number> = {};
    for (const { code } of bad) codes[code] = (codes[code] ?? 0) + 1;
    let longestMs = 0;
    // Up to the last answer, whatever it was.
    const times = [sinceMs, ...good, answers.at(-1)?.atMs ?? sinceMs];
    for (const [index, atMs] of times.entries()) longestMs = Math.max(longestMs, atMs - (times[index - 1] ?? sinceMs));
    const failingMs = bad.length === 0 ? 0 : bad.at(-1)!.atMs - (bad[0]!.atMs - bad[0]!.tookMs);
    const [failing, longest] = [Math.round(failingMs), Math.round(longestMs)];
    return { asked: answers.length, failed: bad.length, failingMs: failing, longestMs: longest, codes };
  }

  async #run(): Promise<void> {
    for (let count = 0; !this.#isStopped; count++) {
      const beganMs = performance.now();
      let code = "";
      try {
        await this.#ask(count);
      } catch (error) {
        code = String((error as { readonly code?: unknown }).code ?? error);
      }
      const atMs = performance.now();
      this.#answers.push({ atMs, tookMs: atMs - beganMs, isOk: code === "", code });
      await sleep(this.#pauseMs);
    }
  }
}
