// Time and randomness of the SDK, injected so that its tests are exact.
// Guarantees: `defaultRuntime` works in Node, browsers and Workers.

export interface ClientRuntime {
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** In [0, 1). */
  random(): number;
  /** Fills with unpredictable bytes. */
  fillRandom(bytes: Uint8Array): void;
  /** Calls once after `delayMs`; the returned function cancels. */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls when everything that is ready now has run, so that all calls of a turn go out in one message. */
  defer(callback: () => void): void;
}

const immediate = (globalThis as { setImmediate?: (callback: () => void) => unknown }).setImmediate;

/** Without setImmediate (browsers): three microtask hops gather what a handful of awaits apart is issued by one answer frame. */
function deferByMicrotasks(callback: () => void): void {
  queueMicrotask(() => queueMicrotask(() => queueMicrotask(callback)));
}

export const defaultRuntime: ClientRuntime = {
  now: () => performance.now(),
  random: () => Math.random(),
  fillRandom: (bytes) => {
    crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
  },
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  defer: immediate ? (callback) => void immediate(callback) : deferByMicrotasks,
};
