// Histories of a store that is right by construction, for the checker's own tests: each operation takes effect at one moment between its
// call and its answer, or, where nobody knows the outcome, perhaps never.
import { seededRandom } from "../lib/seeded.mjs";
import { applied, type Condition, EMPTY, type Operation, type Outcome, type Step } from "./operations.ts";

export interface MadeUp {
  readonly seed: number;
  readonly operations: number;
  readonly clients: number;
  readonly keys: readonly string[];
  readonly unknownShare: number;
}

/** Choices of one seed. */
export class Choices {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

type Asked = Pick<Operation, "conditions" | "success" | "failure">;

/** What a client may ask. `value`: written by no other; `known`: values that it may compare with. */
export function randomAsk(choices: Choices, { keys, value, known }: AskOptions): Asked {
  const key = choices.pick(keys);
  const roll = choices.below(10);
  const get: Step = { kind: "get", key };
  const put: Step = { kind: "put", key, value };
  if (roll < 3) return { conditions: [], success: [get], failure: [] };
  if (roll < 5) return { conditions: [], success: [put], failure: [] };
  if (roll < 6) return { conditions: [], success: [{ kind: "delete", key }], failure: [] };
  if (roll < 8) return { conditions: [conditionOn(choices, key, known)], success: [put], failure: [get] };
  const others = keys.filter((other) => other !== key).slice(0, 2);
  const conditions = [conditionOn(choices, choices.pick(keys), known)];
  const puts = others.map((other, index): Step => ({ kind: "put", key: other, value: `${value}.${index}` }));
  const gets = keys.map((each): Step => ({ kind: "get", key: each }));
  return { conditions, success: [put, ...puts], failure: gets };
}

export interface AskOptions {
  readonly keys: readonly string[];
  readonly value: string;
  readonly known: readonly { readonly key: string; readonly value: string; readonly version: number }[];
}

function conditionOn(choices: Choices, key: string, known: AskOptions["known"]): Condition {
  const of = known.filter((each) => each.key === key);
  if (of.length === 0 || choices.chance(0.2)) return { key, field: "version", is: 0 };
  const { value, version } = choices.pick(of.slice(-3));
  return choices.chance(0.5) ? { key, field: "value", is: value } : { key, field: "version", is: version };
}

export function madeUpHistory({ seed, operations, clients, keys, unknownShare }: MadeUp): readonly Operation[] {
  const choices = new Choices(seed);
  const history: Operation[] = [];
  const known: { key: string; value: string; version: number }[] = [];
  const busy = new Map<number, { asked: Asked; calledMs: number; outcome: Outcome | undefined }>();
  let state = EMPTY;
  let nextValue = 0;
  for (let ms = 1; history.length < operations; ms++) {
    const client = choices.below(clients);
    const call = busy.get(client);
    if (!call) {
      const asked = randomAsk(choices, { keys, value: `v${++nextValue}`, known });
      busy.set(client, { asked, calledMs: ms, outcome: undefined });
      continue;
    }
    if (!call.outcome) {
      const isLost = choices.chance(unknownShare);
      const isNever = isLost && choices.chance(0.5);
      if (!isNever) {
        const done = applied(state, call.asked);
        state = done.state;
        call.outcome = done.outcome;
        for (const [key, { value, version }] of state) known.push({ key, value, version });
      }
      if (!isLost) continue;
    }
    const isUnknown = !call.outcome || choices.chance(unknownShare);
    const { asked, calledMs, outcome } = call;
    const told = isUnknown
      ? { returnedMs: Number.POSITIVE_INFINITY, outcome: undefined }
      : { returnedMs: ms, outcome: outcome };
    history.push({ client, ...asked, calledMs, ...told, revision: 0 });
    busy.delete(client);
  }
  // What is under way at the end may have taken effect.
  const open = { returnedMs: Number.POSITIVE_INFINITY, outcome: undefined, revision: 0 };
  for (const [client, { asked, calledMs }] of busy) history.push({ client, ...asked, calledMs, ...open });
  return history;
}

/** The slow, obvious twin of checkLinearizable: every order that the times allow. */
export function hasOrder(history: readonly Operation[]): boolean {
  const place = (left: readonly Operation[], state: typeof EMPTY): boolean => {
    if (left.every(({ outcome }) => outcome === undefined)) return true;
    return left.some((operation) => {
      if (left.some((other) => other.outcome && other.returnedMs < operation.calledMs)) return false;
      const done = applied(state, operation);
      if (operation.outcome && JSON.stringify(operation.outcome) !== JSON.stringify(done.outcome)) return false;
      return place(
        left.filter((other) => other !== operation),
        done.state,
      );
    });
  };
  return place(history, EMPTY);
}
