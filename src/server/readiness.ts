// Says at the start whether the instance can serve, not only that its process answers.
// Guarantees: one line when it is ready; one before, when that takes long, with what is missing. Must not: end or restart anything.
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 50;
/** From then on it is asked more rarely. */
const PATIENCE_MS = 10_000;
const LATER_POLL_MS = 2000;
const ANSWER_TIMEOUT_MS = 5000;

export interface ReadinessOptions {
  readonly url: string;
  readonly signal: AbortSignal;
  readonly ready: () => void;
  /** `why` of `/v1/ready`. */
  readonly late: (why: string) => void;
  readonly patienceMs?: number;
}

/** Undefined = ready. */
async function missing(url: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const timeout = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const response = await fetch(`${url}/v1/ready`, { signal: AbortSignal.any([signal, timeout]) });
    const body = (await response.json()) as { message?: unknown };
    return response.ok ? undefined : String(body.message);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Ends when it is ready, or at the signal. */
export async function watchReadiness(options: ReadinessOptions): Promise<void> {
  const { url, signal, ready, late, patienceMs = PATIENCE_MS } = options;
  const beganMs = performance.now();
  let isTold = false;
  for (;;) {
    const why = await missing(url, signal);
    if (signal.aborted) return;
    if (why === undefined) return ready();
    if (!isTold && performance.now() - beganMs > patienceMs) {
      isTold = true;
      late(why);
    }
    await sleep(isTold ? LATER_POLL_MS : POLL_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}
