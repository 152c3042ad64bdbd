// Cuts a failing schedule down by delta debugging (Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input", 2002).
// Guarantees: what comes back fails, and with any one of its events left out it does not, unless the tries ran out first. Deterministic.

export interface Shrunk<T> {
  readonly items: readonly T[];
  readonly tries: number;
}

/** `fails` is asked of subsets in the given order; it must be true of all of them together. */
export async function shrink<T>(
  all: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
  maxTries = 3000,
): Promise<Shrunk<T>> {
  let items = all;
  let tries = 0;
  const attempt = async (candidate: readonly T[]): Promise<boolean> => {
    if (tries >= maxTries) return false;
    tries++;
    return fails(candidate);
  };
  for (let chunk = Math.ceil(items.length / 2); chunk >= 1; ) {
    let removed = false;
    // From the end: what came late depends on what came early, not the other way round.
    for (let end = items.length; end > 0; end -= chunk) {
      const candidate = [...items.slice(0, Math.max(0, end - chunk)), ...items.slice(end)];
      if (!(await attempt(candidate))) continue;
      items = candidate;
      removed = true;
    }
    if (chunk > 1) chunk = Math.ceil(chunk / 2);
    else if (!removed || tries >= maxTries) break;
  }
  return { items, tries };
}
