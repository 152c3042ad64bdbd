// The slow, obvious twin of the keyspace: every revision is a whole copy of the map. Tests compare the two.
import type {
  Compare,
  DeleteRangeRequest,
  KeyRange,
  KeyValue,
  OperationAnswer,
  PutRequest,
  RangeAnswer,
  RangeRequest,
  TxnOperation,
  TxnRequest,
} from "../wire/config.ts";
import { isInRange } from "../wire/config-keys.ts";

type State = Map<string, KeyValue>;

const NO_VALUE = new Uint8Array(0);

function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function rank(kv: KeyValue, target: NonNullable<RangeRequest["sortTarget"]>): string | number {
  if (target === "key") return kv.key;
  if (target === "value") return textOf(kv.value);
  if (target === "version") return kv.version;
  return target === "create" ? kv.createRevision : kv.modRevision;
}

export class ReferenceKeyspace {
  /** States by revision; index 1 = empty. */
  readonly states: State[] = [new Map(), new Map()];
  readonly leases = new Set<string>();
  compacted = 0;

  get revision(): number {
    return this.states.length - 1;
  }

  get living(): State {
    return this.states[this.revision]!;
  }

  /** A refusal is its code. */
  apply(operation: TxnOperation): OperationAnswer | string {
    if (operation.kind === "range") return this.#read(this.living, operation);
    const next = new Map(this.living);
    const revision = this.revision + 1;
    const refusal = this.#refusal(operation, this.living);
    if (refusal) return refusal;
    const { answer, isWritten } = this.#run(next, operation, revision, this.living);
    if (isWritten) this.states.push(next);
    return answer;
  }

  endLease(lease: string): void {
    this.leases.delete(lease);
    const keys = [...this.living.values()].filter((kv) => kv.lease === lease);
    if (keys.length === 0) return;
    const next = new Map(this.living);
    for (const { key } of keys) next.delete(key);
    this.states.push(next);
  }

  #refusal(operation: TxnOperation, state: State): string | undefined {
    if (operation.kind === "txn") {
      const branch = this.#holds(operation, state) ? operation.success : operation.failure;
      for (const inner of branch) {
        const refusal = this.#refusal(inner, state);
        if (refusal) return refusal;
      }
      return undefined;
    }
    if (operation.kind === "put") {
      if (operation.lease && !this.leases.has(operation.lease)) return "leaseNotFound";
      if ((operation.ignoreValue || operation.ignoreLease) && !state.has(operation.key)) return "keyNotFound";
    }
    if (operation.kind === "range") {
      const { revision = 0 } = operation;
      if (revision > this.revision) return "futureRevision";
      if (revision > 0 && revision < this.compacted && revision !== this.revision) return "compacted";
    }
    return undefined;
  }

  #holds(txn: TxnRequest, state: State): boolean {
    return txn.compare.every((compare) => {
      const kvs = [...state.values()].filter(({ key }) => isInRange(key, compare));
      if (kvs.length === 0) return compare.target !== "value" && this.#compare(compare, undefined);
      return kvs.every((kv) => this.#compare(compare, kv));
    });
  }

  #compare({ target, result, operand }: Compare, kv: KeyValue | undefined): boolean {
    const [a, b] = ((): [string | number | bigint, string | number | bigint] => {
      if (target === "value") return [textOf(kv!.value), textOf(operand as Uint8Array)];
      if (target === "lease") return [BigInt(kv?.lease || 0), BigInt((operand as string) || 0)];
      if (target === "version") return [kv?.version ?? 0, operand as number];
      return [(target === "create" ? kv?.createRevision : kv?.modRevision) ?? 0, operand as number];
    })();
    if (result === "equal") return a === b;
    if (result === "notEqual") return a !== b;
    return result === "greater" ? a > b : a < b;
  }

  #run(
    next: State,
    operation: TxnOperation,
    revision: number,
    before: State,
  ): { answer: OperationAnswer; isWritten: boolean } {
    switch (operation.kind) {
      case "range":
        return { answer: this.#read(next, operation, revision) as RangeAnswer, isWritten: false };
      case "put":
        return { answer: this.#put(next, operation, revision), isWritten: true };
      case "deleteRange":
        return this.#delete(next, operation);
      case "txn": {
        const succeeded = this.#holds(operation, before);
        const done = (succeeded ? operation.success : operation.failure).map((inner) =>
          this.#run(next, inner, revision, before),
        );
        const responses = done.map(({ answer }) => answer);
        return { answer: { kind: "txn", succeeded, responses }, isWritten: done.some(({ isWritten }) => isWritten) };
      }
      default:
        return operation satisfies never;
    }
  }

  #put(next: State, put: PutRequest, revision: number): OperationAnswer {
    const key = put.sequential ? put.key + String(revision).padStart(16, "0") : put.key;
    const previous = next.get(key);
    const meta = {
      key,
      createRevision: previous?.createRevision ?? revision,
      version: (previous?.version ?? 0) + 1,
      lease: put.ignoreLease ? previous!.lease : (put.lease ?? ""),
    };
    next.set(key, { ...meta, modRevision: revision, value: put.ignoreValue ? previous!.value : put.value });
    const answer: OperationAnswer = { kind: "put", ...meta };
    return put.prevKv && previous ? { ...answer, prevKv: previous } : answer;
  }

  #delete(next: State, request: DeleteRangeRequest): { answer: OperationAnswer; isWritten: boolean } {
    const gone = sorted(next, request);
    for (const { key } of gone) next.delete(key);
    const prevKvs = request.prevKv ? gone : [];
    return { answer: { kind: "deleteRange", deleted: gone.length, prevKvs }, isWritten: gone.length > 0 };
  }

  #read(present: State, request: RangeRequest, making = this.revision): RangeAnswer | string {
    const { revision = 0, limit = 0, sortTarget = "key", descending, keysOnly, countOnly } = request;
    if (revision > making) return "futureRevision";
    if (revision > 0 && revision < this.compacted && revision !== this.revision) return "compacted";
    const state = revision === 0 || revision === making ? present : this.states[revision]!;
    const all = sorted(state, request);
    if (countOnly) return { kind: "range", kvs: [], count: all.length, more: false };
    const passing = all.filter((kv) => passes(request, kv));
    passing.sort((a, b) => {
      const [x, y] = [rank(a, sortTarget), rank(b, sortTarget)];
      if (x === y) return 0;
      return x < y ? -1 : 1;
    });
    if (descending) passing.reverse();
    const cut = limit > 0 ? passing.slice(0, limit) : passing;
    const kvs = cut.map((kv) => (keysOnly ? { ...kv, value: NO_VALUE } : kv));
    return { kind: "range", kvs, count: all.length, more: cut.length < passing.length };
  }
}

function sorted(state: State, range: KeyRange): KeyValue[] {
  return [...state.values()].filter(({ key }) => isInRange(key, range)).sort((a, b) => (a.key < b.key ? -1 : 1));
}

function passes(request: RangeRequest, { modRevision, createRevision }: KeyValue): boolean {
  const { minModRevision = 0, maxModRevision = 0, minCreateRevision = 0, maxCreateRevision = 0 } = request;
  return (
    modRevision >= minModRevision &&
    createRevision >= minCreateRevision &&
    (maxModRevision === 0 || modRevision <= maxModRevision) &&
    (maxCreateRevision === 0 || createRevision <= maxCreateRevision)
  );
}
