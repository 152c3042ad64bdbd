// Objects that end themselves because their data are others now, and what becomes of calls that this cuts off.
// Guarantees: such a call may be made again: what it did before the end went with the data that it was done to, and afterwards nothing was done.

/** Why a keyspace ended itself. The reason is all that callers see. */
export const BEGAN_ANEW = { restored: "restored", erased: "erased" } as const;

const REASONS: ReadonlySet<string> = new Set(Object.values(BEGAN_ANEW));

/** Asks once more where the object began anew under the call, or where the stub is of before: `ask` takes a new stub then. */
export async function evenIfBegunAnew<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof Error && REASONS.has(error.message))) throw error;
    return ask();
  }
}
