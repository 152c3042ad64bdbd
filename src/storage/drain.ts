// Reads statements to their end. One that is left before it (a `return` in a loop over rows, `const [row] = …`) stays open in workerd
// until the garbage collector finds it, and SQLite's write-ahead log grows without bound meanwhile: it may not begin anew.

/** Iterates to the end: in some implementations a statement is only finished then. */
export function drain(rows: Iterable<unknown>): void {
  for (const _ of rows) {
    // Nothing to keep.
  }
}

/** The first row, if there is one. */
export function firstOf<Row>(rows: Iterable<Row>): Row | undefined {
  let first: Row | undefined;
  for (const row of rows) first ??= row;
  return first;
}
