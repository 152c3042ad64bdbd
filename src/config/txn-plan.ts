// What a transaction will do, decided before it writes anything. Pure.
import type { BinaryKey, TxnOperation, TxnRequest } from "../wire/config.ts";

/** Bytes that a transaction will give back, and that it has written so far. */
export interface PlannedSize {
  answer: number;
  written: number;
  /** Keys read one by one. */
  reads: number;
}

export interface Plan {
  readonly succeeded: boolean;
  readonly steps: readonly Step[];
}

export type Step =
  | { readonly kind: "plan"; readonly plan: Plan }
  | { readonly kind: "operation"; readonly operation: Exclude<TxnOperation, TxnRequest> };

/** Each is put once. */
export function keysPut({ steps }: Plan): BinaryKey[] {
  return steps.flatMap((step) => {
    if (step.kind === "plan") return keysPut(step.plan);
    return step.operation.kind === "put" && !step.operation.sequential ? step.operation.key : [];
  });
}
