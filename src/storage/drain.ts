// Completes a statement that is run for its effect. Must not: keep rows.

/** Iterates to the end: in some implementations a statement is only finished then. */
export function drain(rows: Iterable<unknown>): void {
  for (const _ of rows) {
    // Nothing to keep.
  }
}
