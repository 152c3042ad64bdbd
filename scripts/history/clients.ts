// One client of a recorded history: asks the real server one thing after another, and notes what it asked, when, and what it was told.
// Guarantees: nothing is noted that did not happen; a write without an answer is repeated under its write id, or given up as unknown.
// Must not: judge.

import { setTimeout as sleep } from "node:timers/promises";
import { type Config, configOp, isJadeError, isPreconditionFailed } from "../../src/client/index.ts";
import { type Choices, randomAsk } from "./made-up.ts";
import type { Condition, Operation, Outcome, Step, StepResult } from "./operations.ts";

type Asked = Pick<Operation, "conditions" | "success" | "failure">;

/** What the clients of one group of keys share. */
export interface Group {
  readonly config: Config;
  readonly keys: readonly string[];
  readonly history: Operation[];
  readonly known: { readonly key: string; readonly value: string; readonly version: number }[];
}

export interface ClientCounts {
  unknown: number;
  retried: number;
}

export interface ClientOptions {
  readonly number: number;
  readonly group: Group;
  readonly choices: Choices;
  readonly counts: ClientCounts;
  /** For unexpected answers. */
  readonly problem: (text: string) => void;
}

interface Told {
  readonly outcome: Outcome;
  readonly revision: number;
}

const RETRY_PAUSE_MS = 30;
/** A write without an answer is given up in so many cases. */
const ABANDONED_SHARE = 0.3;
/** Failures that say nothing about what is stored. */
const TRANSIENT = new Set(["networkFailure", "timedOut", "unavailable", "unknownOutcome", "overloaded", "badAnswer"]);

export class HistoryClient {
  readonly #options: ClientOptions;
  #writes = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  async run(operations: number): Promise<void> {
    for (let i = 0; i < operations; i++) await this.#step();
  }

  async #step(): Promise<void> {
    const { choices, number, group } = this.#options;
    const { keys, known } = group;
    const asked = randomAsk(choices, { keys, known, value: `${number}.${++this.#writes}` });
    const isWrite = [...asked.success, ...asked.failure].some(({ kind }) => kind !== "get");
    const writeId = Array.from({ length: 32 }, () => choices.below(16).toString(16)).join("");
    const calledMs = performance.now();
    for (;;) {
      const told = await this.#ask(asked, writeId);
      if (told) return this.#note(asked, calledMs, told);
      await sleep(RETRY_PAUSE_MS);
      // A read without an answer has no effect: it is as if it was never asked.
      if (!isWrite) return;
      if (choices.chance(ABANDONED_SHARE)) {
        this.#note(asked, calledMs, undefined);
        return this.#untilBack();
      }
      this.#options.counts.retried++;
    }
  }

  /** Each unknown write doubles what the checker has to try: one an outage and client is enough. */
  async #untilBack(): Promise<void> {
    while (!(await this.#options.group.config.status().catch(() => undefined))) await sleep(RETRY_PAUSE_MS);
  }

  #note(asked: Asked, calledMs: number, told: Told | undefined): void {
    const { group, number, counts } = this.#options;
    const returnedMs = told ? performance.now() : Number.POSITIVE_INFINITY;
    const { outcome, revision = 0 } = told ?? {};
    group.history.push({ client: number, ...asked, calledMs, returnedMs, outcome, revision });
    if (!outcome) counts.unknown++;
    for (const [index, step] of (outcome?.succeeded ? asked.success : asked.failure).entries()) {
      const result = outcome?.results[index];
      const value = step.kind === "put" ? step.value : result?.kind === "get" ? result.value : undefined;
      if (value === undefined || !result || result.kind === "delete") continue;
      group.known.push({ key: step.key, value, version: result.version });
    }
  }

  /** Undefined = nobody knows. */
  async #ask(asked: Asked, writeId: string): Promise<Told | undefined> {
    try {
      return await this.#send(asked, writeId);
    } catch (error) {
      if (!isJadeError(error) || !TRANSIENT.has(error.code)) this.#options.problem(`an unexpected answer: ${error}`);
      return undefined;
    }
  }

  #send(asked: Asked, writeId: string): Promise<Told> {
    const { config } = this.#options.group;
    const [first, ...others] = asked.success;
    if (!first || others.length > 0) return this.#txn(asked, writeId);
    switch (first.kind) {
      case "get":
        return asked.conditions.length > 0 ? this.#txn(asked, writeId) : getOne(config, first.key);
      case "delete":
        return deleteOne(config, first.key, writeId);
      case "put":
        return putOne(config, { step: first, conditions: asked.conditions, writeId });
      default:
        return first satisfies never;
    }
  }

  async #txn({ conditions, success, failure }: Asked, writeId: string): Promise<Told> {
    const txn = this.#options.group.config.txn();
    for (const { key, field, is } of conditions) txn.if(key, field, "=", is);
    const { succeeded, revision, responses } = await txn
      .onSuccess(...success.map(operationOf))
      .onFailure(...failure.map(operationOf))
      .commit({ writeId });
    const results = responses.map((response): StepResult => {
      if (response.op === "put") return { kind: "put", version: response.version };
      if (response.op === "delete") return { kind: "delete", deleted: response.deleted };
      if (response.op !== "get") throw new Error(`an answer of another kind: ${response.op}`);
      return response.found ? gotten(response) : NOTHING;
    });
    return { outcome: { succeeded, results }, revision };
  }
}

const NOTHING: StepResult = { kind: "get", value: undefined, version: 0 };

function gotten({ value, version }: { readonly value: unknown; readonly version: number }): StepResult {
  return { kind: "get", value: String(value), version };
}

function operationOf(step: Step) {
  switch (step.kind) {
    case "put":
      return configOp.put(step.key, step.value);
    case "delete":
      return configOp.delete(step.key);
    case "get":
      return configOp.get(step.key);
    default:
      return step satisfies never;
  }
}

const done = (result: StepResult, revision = 0): Told => ({
  outcome: { succeeded: true, results: [result] },
  revision,
});

async function getOne(config: Config, key: string): Promise<Told> {
  const read = await config.get(key);
  return done(read.found ? gotten(read) : NOTHING);
}

async function deleteOne(config: Config, key: string, writeId: string): Promise<Told> {
  const { deleted, revision } = await config.delete(key, { writeId });
  return done({ kind: "delete", deleted }, revision);
}

interface Put {
  readonly step: Extract<Step, { kind: "put" }>;
  readonly conditions: readonly Condition[];
  readonly writeId: string;
}

async function putOne(config: Config, { step, conditions, writeId }: Put): Promise<Told> {
  const [condition] = conditions;
  const fields = !condition
    ? {}
    : condition.field === "value"
      ? { ifValue: condition.is }
      : { ifVersion: Number(condition.is) };
  try {
    const { version, revision } = await config.put(step.key, step.value, { ...fields, writeId });
    return done({ kind: "put", version }, revision);
  } catch (error) {
    if (!condition || !isPreconditionFailed(error)) throw error;
    const current = error.details["current"] as { readonly value: unknown; readonly version: number } | null;
    return { outcome: { succeeded: false, results: [current ? gotten(current) : NOTHING] }, revision: 0 };
  }
}
