// What clients of the configuration store asked and were told, and what a store in one place would have told them.
// Guarantees: `applied` is the whole meaning of an operation; two states with one `stateText` answer everything alike.
// Must not: know revisions (they are checked by commit-order.ts) or time.

/** One key's part of an operation. */
export type Step =
  | { readonly kind: "put"; readonly key: string; readonly value: string }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "get"; readonly key: string };

/** `version` 0 = absent. */
export interface Condition {
  readonly key: string;
  readonly field: "value" | "version";
  readonly is: string | number;
}

export type StepResult =
  | { readonly kind: "put"; readonly version: number }
  | { readonly kind: "delete"; readonly deleted: number }
  | { readonly kind: "get"; readonly value: string | undefined; readonly version: number };

export interface Outcome {
  readonly succeeded: boolean;
  readonly results: readonly StepResult[];
}

/** Every call is a transaction: `success` if all conditions hold, else `failure`. */
export interface Operation {
  readonly client: number;
  readonly conditions: readonly Condition[];
  readonly success: readonly Step[];
  readonly failure: readonly Step[];
  readonly calledMs: number;
  /** Infinity = it may take effect at any time after the call, or never. */
  readonly returnedMs: number;
  /** Undefined = nobody knows. */
  readonly outcome: Outcome | undefined;
  /** The revision that the answer named; 0 = none. */
  readonly revision: number;
}

interface Entry {
  readonly value: string;
  readonly version: number;
}

export type State = ReadonlyMap<string, Entry>;

export const EMPTY: State = new Map();

export function applied(state: State, operation: Pick<Operation, "conditions" | "success" | "failure">) {
  const succeeded = operation.conditions.every((condition) => holds(state, condition));
  const after = new Map(state);
  const results = (succeeded ? operation.success : operation.failure).map((step) => run(after, step));
  return { state: after as State, outcome: { succeeded, results } satisfies Outcome };
}

function holds(state: State, { key, field, is }: Condition): boolean {
  const entry = state.get(key);
  return field === "version" ? (entry?.version ?? 0) === is : entry !== undefined && entry.value === is;
}

function run(state: Map<string, Entry>, step: Step): StepResult {
  const before = state.get(step.key);
  switch (step.kind) {
    case "put": {
      const version = (before?.version ?? 0) + 1;
      state.set(step.key, { value: step.value, version });
      return { kind: "put", version };
    }
    case "delete":
      state.delete(step.key);
      return { kind: "delete", deleted: before ? 1 : 0 };
    case "get":
      return { kind: "get", value: before?.value, version: before?.version ?? 0 };
    default:
      return step satisfies never;
  }
}

export function stateText(state: State): string {
  const entries = [...state].sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([key, { value, version }]) => `${key}=${value}@${version}`).join(" ");
}

export function isSameOutcome(a: Outcome, b: Outcome): boolean {
  return a.succeeded === b.succeeded && a.results.length === b.results.length && a.results.every(sameAs(b));
}

const sameAs =
  (other: Outcome) =>
  (result: StepResult, index: number): boolean => {
    const expected = other.results[index]!;
    switch (result.kind) {
      case "put":
        return expected.kind === "put" && expected.version === result.version;
      case "delete":
        return expected.kind === "delete" && expected.deleted === result.deleted;
      case "get":
        return expected.kind === "get" && expected.value === result.value && expected.version === result.version;
      default:
        return result satisfies never;
    }
  };

export function keysOf({ conditions, success, failure }: Operation): readonly string[] {
  return [...new Set([...conditions, ...success, ...failure].map(({ key }) => key))];
}

export function shownOperation(operation: Operation): string {
  const steps = (list: readonly Step[]): string =>
    list.map((step) => `${step.kind} ${step.key}${step.kind === "put" ? `=${step.value}` : ""}`).join(", ");
  const conditions = operation.conditions.map(({ key, field, is }) => `${key}.${field}=${is}`).join(" & ");
  const told = operation.outcome ? JSON.stringify(operation.outcome) : "unknown";
  const times = `${operation.calledMs.toFixed(1)}-${operation.returnedMs.toFixed(1)}`;
  const branches = `if (${conditions}) {${steps(operation.success)}} else {${steps(operation.failure)}}`;
  return `client ${operation.client} ${times} ${branches}: ${told}`;
}
