// Is there one order of the operations, each between its call and its answer, in which one store gives all of these answers?
// Wing & Gong's search with Lowe's memory of (operations done, state), over the parts of a history that share no keys (a transaction joins
// its keys). Guarantees: `yes` and `no` are exact; `timeOut` is neither. An operation without an answer may take effect at any time
// after its call: never is the same as after everything else.
import { applied, EMPTY, isSameOutcome, keysOf, type Operation, type State, stateText } from "./operations.ts";

export interface Verdict {
  readonly verdict: "yes" | "no" | "timeOut";
  readonly partitions: number;
  /** States that were tried. */
  readonly steps: number;
  /** `no`: the operations of the first part without an order, and the one that the longest attempt could not place. */
  readonly stuck?: { readonly operations: readonly Operation[]; readonly at: Operation } | undefined;
}

export interface CheckOptions {
  readonly timeoutMs: number;
  readonly now?: () => number;
}

export function checkLinearizable(history: readonly Operation[], options: CheckOptions): Verdict {
  const { timeoutMs, now = () => performance.now() } = options;
  const untilMs = now() + timeoutMs;
  const parts = partitions(history);
  let steps = 0;
  for (const part of parts) {
    const search = new Search(part, () => now() > untilMs);
    const verdict = search.run();
    steps += search.steps;
    if (verdict === "yes") continue;
    const stuck = verdict === "no" ? { operations: part, at: search.stuckAt! } : undefined;
    return { verdict, partitions: parts.length, steps, stuck };
  }
  return { verdict: "yes", partitions: parts.length, steps };
}

/** Operations that share keys, directly or by others; in the order of their calls. */
export function partitions(history: readonly Operation[]): readonly (readonly Operation[])[] {
  const parent = new Map<string, string>();
  const find = (key: string): string => {
    let root = key;
    for (let next = parent.get(root); next !== undefined && next !== root; next = parent.get(root)) root = next;
    parent.set(key, root);
    return root;
  };
  for (const operation of history) {
    const [first, ...others] = keysOf(operation);
    for (const key of others) parent.set(find(key), find(first!));
  }
  const parts = new Map<string, Operation[]>();
  for (const operation of history) {
    const root = find(keysOf(operation)[0]!);
    const part = parts.get(root);
    if (part) part.push(operation);
    else parts.set(root, [operation]);
  }
  return [...parts.values()].map((part) => part.sort((a, b) => a.calledMs - b.calledMs));
}

/** A call or an answer, in a list of those whose operation is not yet placed. */
interface Node {
  readonly index: number;
  readonly operation: Operation;
  /** Of a call: its answer. */
  readonly answer: Node | undefined;
  before: Node;
  after: Node | undefined;
}

interface Placed {
  readonly node: Node;
  readonly state: State;
}

/** Steps between two looks at the clock. */
const STEPS_A_LOOK = 256;

class Search {
  readonly #isLate: () => boolean;
  readonly #head: Node;
  readonly #done: Uint16Array;
  readonly #seen = new Set<string>();
  readonly #stack: Placed[] = [];
  #state: State = EMPTY;
  /** Operations with an answer that are not placed. */
  #left = 0;
  #least = Number.POSITIVE_INFINITY;
  steps = 0;
  stuckAt: Operation | undefined;

  constructor(operations: readonly Operation[], isLate: () => boolean) {
    this.#isLate = isLate;
    this.#done = new Uint16Array(Math.ceil(operations.length / 16));
    this.#head = listOf(operations);
    for (const { outcome } of operations) if (outcome) this.#left++;
  }

  run(): Verdict["verdict"] {
    let node = this.#head.after;
    // Operations without an answer are tried last: most orders need few of them, and each doubles what there is to try.
    let isKnown = true;
    while (this.#left > 0) {
      if (++this.steps % STEPS_A_LOOK === 0 && this.#isLate()) return "timeOut";
      if (node?.answer) {
        const isPlaced = isKnown === (node.operation.outcome !== undefined) && this.#place(node);
        if (isPlaced) isKnown = true;
        node = isPlaced ? this.#head.after : node.after;
        continue;
      }
      // An answer whose call is not placed yet, or nothing left to try.
      if (isKnown) {
        isKnown = false;
        node = this.#head.after;
        continue;
      }
      this.#note(node);
      const last = this.#stack.pop();
      if (!last) return "no";
      isKnown = last.node.operation.outcome !== undefined;
      node = this.#takeBack(last);
    }
    return "yes";
  }

  #place(node: Node): boolean {
    const { operation, index } = node;
    const { state, outcome } = applied(this.#state, operation);
    if (operation.outcome && !isSameOutcome(operation.outcome, outcome)) return false;
    this.#flip(index);
    const place = `${String.fromCharCode(...this.#done)} ${stateText(state)}`;
    if (this.#seen.has(place)) {
      this.#flip(index);
      return false;
    }
    this.#seen.add(place);
    this.#stack.push({ node, state: this.#state });
    this.#state = state;
    if (operation.outcome) this.#left--;
    lift(node);
    lift(node.answer!);
    return true;
  }

  #takeBack({ node, state }: Placed): Node | undefined {
    this.#state = state;
    this.#flip(node.index);
    if (node.operation.outcome) this.#left++;
    putBack(node.answer!);
    putBack(node);
    return node.after;
  }

  #flip(index: number): void {
    this.#done[index >> 4]! ^= 1 << (index & 15);
  }

  #note(node: Node | undefined): void {
    if (!node || this.#left >= this.#least) return;
    this.#least = this.#left;
    this.stuckAt = node.operation;
  }
}

/** Calls and answers in the order of time; where two are at one time, calls first: they may have overlapped. */
function listOf(operations: readonly Operation[]): Node {
  const head = { index: -1, operation: operations[0]!, answer: undefined, after: undefined } as unknown as Node;
  const nodes = operations.flatMap((operation, index) => {
    const answer: Node = { index, operation, answer: undefined, before: head, after: undefined };
    const call: Node = { index, operation, answer, before: head, after: undefined };
    return [
      { node: call, atMs: operation.calledMs, order: 0 },
      { node: answer, atMs: operation.outcome ? operation.returnedMs : Number.POSITIVE_INFINITY, order: 1 },
    ];
  });
  nodes.sort((a, b) => (a.atMs === b.atMs ? a.order - b.order : a.atMs < b.atMs ? -1 : 1));
  let last = head;
  for (const { node } of nodes) {
    last.after = node;
    node.before = last;
    last = node;
  }
  return head;
}

function lift(node: Node): void {
  node.before.after = node.after;
  if (node.after) node.after.before = node.before;
}

function putBack(node: Node): void {
  node.before.after = node;
  if (node.after) node.after.before = node;
}
