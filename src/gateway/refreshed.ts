// What is asked of an owner now and then, and goes on being used while the owner is away.
// Guarantees: only the first question about a thing waits for the owner without a limit of its own; one question at a time about each; what
// the owner says replaces what was held. Must not: hold what must not be used late.
import { DeadlineExceeded, withDeadline } from "../../objects/with-deadline.ts";
import { BoundedMap } from "../access/bounded-map.ts";
import { PublicError } from "../wire/error-codes.ts";

/** What a request waits for news of what it knows already. Ms. */
export const NEWS_WAIT_MS = 500;

export interface RefreshedOptions {
  readonly now: () => number;
  /** So long nobody is asked again. */
  readonly freshMs: number;
  readonly capacity: number;
}

interface Held<T> {
  readonly value: T;
  readonly askedMs: number;
}

/** The owner is away; anything else is what it says. */
function isAway(error: unknown): boolean {
  return error instanceof DeadlineExceeded || (error instanceof PublicError && error.code === "unavailable");
}

export class Refreshed<T> {
  readonly #options: RefreshedOptions;
  readonly #held: BoundedMap<string, Held<T>>;

  constructor(options: RefreshedOptions) {
    this.#options = options;
    this.#held = new BoundedMap(options.capacity);
  }

  async get(key: string, ask: () => Promise<T>): Promise<T> {
    const { now, freshMs } = this.#options;
    const held = this.#held.get(key);
    if (!held) return this.#keep(key, await ask());
    if (now() - held.askedMs <= freshMs) return held.value;
    // Others go on with it meanwhile.
    this.#held.set(key, { value: held.value, askedMs: now() });
    try {
      return this.#keep(key, await withDeadline(ask(), NEWS_WAIT_MS, "the owner"));
    } catch (error) {
      if (isAway(error)) return held.value;
      this.#held.delete(key);
      throw error;
    }
  }

  #keep(key: string, value: T): T {
    this.#held.set(key, { value, askedMs: this.#options.now() });
    return value;
  }
}
