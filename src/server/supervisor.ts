// Keeps one workerd running until it is told to stop.
// Guarantees: a death is answered by a restart within MAX_RESTART_MS; a stop is SIGTERM first, SIGKILL after STOP_TIMEOUT_MS, at the second
// request, or when nobody waits for it any more; after `stop` nothing is started. Must not: know what workerd serves.

import { setTimeout as sleep } from "node:timers/promises";
import { GOOD_RUN_MS, restartDelayMs } from "./backoff.ts";
import { exitCodes, OperatorError } from "./problem.ts";
import { explainDeath, explainStartFailure } from "./workerd-binary.ts";
import { type WorkerdExit, WorkerdProcess, type WorkerdStart } from "./workerd-process.ts";

export const START_TIMEOUT_MS = 30_000;
export const STOP_TIMEOUT_MS = 3_000;
/** A process is idle when it was so at so many looks, one after the other. */
const IDLE_LOOKS = 3;
const IDLE_POLL_MS = 50;

export interface SupervisorEvents {
  /** A workerd process exists; its number must be known to a later start. */
  started(pid: number): void;
  /** It died unasked and will be started again after `delayMs`; `why`: what it means, where that is known. */
  died(exit: WorkerdExit, delayMs: number, why: string | undefined): void;
  /** It could not be started again (a full disk, say), and will be tried again after `delayMs`. */
  unable(error: unknown, delayMs: number): void;
  /** It answers again, `downMs` after it died. */
  back(downMs: number): void;
  /** It did not stop in time, or was asked twice. */
  killing(): void;
}

export interface SupervisorOptions {
  /** Written anew before each start: a port learnt at the first one must be kept by the next. */
  readonly prepare: (port: number | undefined) => WorkerdStart;
  readonly url: (port: number) => string;
  readonly events: SupervisorEvents;
  /** Has the process tell its connections that it goes, before SIGTERM: workerd waits for them. Must end soon; what it throws is nobody's. */
  readonly leave?: () => Promise<void>;
  /** After SIGTERM: whoever called has been answered, and what it still waits for are neighbours that do not go. Then it is ended. */
  readonly isIdle?: (pid: number, port: number) => boolean;
  /** Between SIGTERM and SIGKILL. */
  readonly stopTimeoutMs?: number;
  /** Answers while the process is away. */
  readonly standIn?: StandIn;
}

export interface StandIn {
  /** Resolves when it answers; called before each start. */
  come(): Promise<void>;
  /** The process listens. */
  go(): void;
  /** There will be no other start. */
  shut(): void;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  #current: WorkerdProcess | undefined;
  #port: number | undefined;
  #isReady = false;
  #stopping = false;
  /** Settled when it is to run again; undefined = it is to run. */
  #rest: { readonly over: Promise<void>; readonly end: () => void } | undefined;
  #stopRequests = 0;
  readonly #stopRequested: Promise<void>;
  #announceStop: () => void = () => undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#stopRequested = new Promise((resolve) => {
      this.#announceStop = resolve;
    });
  }

  #spawn(): WorkerdProcess {
    const child = new WorkerdProcess(this.#options.prepare(this.#port));
    this.#current = child;
    this.#isReady = false;
    if (child.pid !== undefined) this.#options.events.started(child.pid);
    return child;
  }

  async #ready(child: WorkerdProcess): Promise<boolean> {
    const port = await Promise.race([
      child.listening,
      child.exited.then(() => undefined),
      sleep(START_TIMEOUT_MS, undefined, { ref: false }),
    ]);
    if (port === undefined) return false;
    this.#port = port;
    this.#options.standIn?.go();
    const isReady = await child.healthy(this.#options.url(port), START_TIMEOUT_MS);
    if (child === this.#current) this.#isReady = isReady;
    return isReady;
  }

  /**
   * The first start: gives the port once `/v1/health` answers, undefined when `stop` came first.
   * @throws OperatorError when it does not come up.
   */
  async start(): Promise<number | undefined> {
    await this.#options.standIn?.come();
    if (this.#stopping) return undefined;
    const child = this.#spawn();
    const ready = await this.#ready(child);
    if (this.#stopping) return undefined;
    if (ready && this.#port !== undefined) return this.#port;
    this.#stopping = true;
    const ended = child.ended;
    child.signal("SIGKILL");
    const { code, signal } = await child.exited;
    const why = explainStartFailure(child.stderrTail);
    if (why !== undefined) throw new OperatorError(why);
    throw new OperatorError(
      ended
        ? `workerd ended at its start (${signal ?? `exit code ${code}`}); its messages are above`
        : `workerd did not answer within ${START_TIMEOUT_MS / 1000} s`,
    );
  }

  /** Where it listens; undefined = nothing runs. */
  get port(): number | undefined {
    return this.#current?.ended === false ? this.#port : undefined;
  }

  /** It has answered since its start, and was not asked to end. */
  get isAnswering(): boolean {
    return this.#isReady && this.#current?.ended === false && !this.#stopping && !this.#rest;
  }

  get isResting(): boolean {
    return this.#rest !== undefined;
  }

  /** Undefined = nothing runs. */
  get pid(): number | undefined {
    return this.#current?.ended === false ? this.#current.pid : undefined;
  }

  /** Asks it to end, and does not start it again before {@link wake}. */
  rest(): void {
    if (this.#stopping || this.#rest) return;
    let end: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#rest = { over, end };
    if (this.#current) this.#endPolitely(this.#current);
  }

  wake(): void {
    const rest = this.#rest;
    this.#rest = undefined;
    rest?.end();
  }

  /** As `start` and `run`, but a first start that fails is followed by others. */
  keep(): Promise<number> {
    if (this.#stopping) return Promise.resolve(exitCodes.ok);
    const child = this.#spawn();
    const beganAt = performance.now();
    void this.#tellBack(child, beganAt);
    return this.run();
  }

  async #tellBack(child: WorkerdProcess, sinceMs: number): Promise<void> {
    const isReady = await this.#ready(child);
    if (isReady && !this.#stopping) this.#options.events.back(performance.now() - sinceMs);
  }

  /** Restarts until stopped; resolves with the exit code of `serve` when the last workerd has ended. */
  async run(): Promise<number> {
    let deaths = 0;
    let startedAt = performance.now();
    while (this.#current !== undefined) {
      const died = this.#current;
      const exit = await died.exited;
      if (this.#stopping) break;
      const rest = this.#rest;
      const diedAt = performance.now();
      deaths = rest || diedAt - startedAt >= GOOD_RUN_MS ? 1 : deaths + 1;
      const delayMs = restartDelayMs(deaths);
      // Where it cannot come, the next start finds out why.
      await this.#options.standIn?.come().catch(() => undefined);
      if (!rest) this.#options.events.died(exit, delayMs, explainDeath(died.stderrTail));
      await Promise.race([sleep(delayMs), this.#stopRequested]);
      if (this.#rest) await Promise.race([this.#rest.over, this.#stopRequested]);
      if (this.#stopping) break;
      const child = await this.#spawnAgain();
      if (!child) break;
      startedAt = performance.now();
      void this.#tellBack(child, diedAt);
    }
    return exitCodes.ok;
  }

  /** What a start lacks may come back, as room on a disk does: it is tried until then (spec CL-151). Undefined = stopped before. */
  async #spawnAgain(): Promise<WorkerdProcess | undefined> {
    for (let failures = 1; !this.#stopping; failures++) {
      try {
        return this.#spawn();
      } catch (error) {
        // It may run, and only its number could not be written down.
        this.#current?.signal("SIGKILL");
        await this.#current?.exited;
        const delayMs = restartDelayMs(failures);
        this.#options.events.unable(error, delayMs);
        await Promise.race([sleep(delayMs), this.#stopRequested]);
      }
    }
    return undefined;
  }

  /** The first call asks politely, the second does not. Safe to call from a signal handler. */
  stop(): void {
    this.#stopping = true;
    this.#stopRequests += 1;
    this.#announceStop();
    this.#options.standIn?.shut();
    const child = this.#current;
    if (child === undefined || child.ended) return;
    if (this.#stopRequests === 1) this.#endPolitely(child);
    else this.#kill(child);
  }

  #endPolitely(child: WorkerdProcess): void {
    const { leave } = this.#options;
    const end = (): void => {
      child.signal("SIGTERM");
      void this.#endWhenIdle(child);
    };
    if (leave && this.#isReady) void leave().then(end, end);
    else end();
    setTimeout(() => this.#kill(child), this.#options.stopTimeoutMs ?? STOP_TIMEOUT_MS).unref();
  }

  async #endWhenIdle(child: WorkerdProcess): Promise<void> {
    const { isIdle } = this.#options;
    const [pid, port] = [child.pid, this.#port];
    if (!isIdle || pid === undefined || port === undefined) return;
    for (let looks = 0; looks < IDLE_LOOKS && !child.ended; ) {
      await sleep(IDLE_POLL_MS, undefined, { ref: false });
      looks = isIdle(pid, port) ? looks + 1 : 0;
    }
    child.signal("SIGKILL");
  }

  #kill(child: WorkerdProcess): void {
    if (child.ended) return;
    this.#options.events.killing();
    child.signal("SIGKILL");
  }
}
