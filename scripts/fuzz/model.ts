// What the watched tenants must hold, from the writes that were answered with success.
// Guarantees: a value that only a refused request carried, a key that nobody wrote, a lost or a returned value is found. Keys whose
// writes may be concurrent, repeated or below a majority are judged by "one of the values written" only.

interface KeyModel {
  /** Canonical texts of all values written. */
  readonly values: Set<string>;
  /** The value that a read must show, or `deleted`; undefined = not determined. */
  last: string | "deleted" | undefined;
  isVague: boolean;
}

export interface Write {
  readonly key: string;
  /** Parsed JSON; `isDelete` has none. */
  readonly value: unknown;
  readonly isDelete: boolean;
  /** Its order with other writes of the key is not known, or it may have reached too few. */
  readonly isVague: boolean;
}

/** Equal texts for equal values; values too deep for JSON.stringify are taken for one. */
function canonical(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "undefined";
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return "deep";
  }
}

export class TenantModel {
  readonly #keys = new Map<string, KeyModel>();

  get size(): number {
    return this.#keys.size;
  }

  #of(key: string): KeyModel {
    let model = this.#keys.get(key);
    if (!model) {
      model = { values: new Set(), last: undefined, isVague: false };
      this.#keys.set(key, model);
    }
    return model;
  }

  wrote(write: Write): void {
    const model = this.#of(write.key);
    if (write.isVague || !write.key.startsWith("lane")) model.isVague = true;
    if (!write.isDelete) model.values.add(canonical(write.value));
    model.last = write.isDelete ? "deleted" : canonical(write.value);
  }

  /** What is wrong with a read of this key; `found` undefined = not found. */
  problemOfRead(key: string, found: { readonly value: unknown } | undefined): string | undefined {
    const model = this.#keys.get(key);
    if (!model) return found ? `${JSON.stringify(key)} holds a value that no accepted write gave it` : undefined;
    if (found && !model.values.has(canonical(found.value)))
      return `${JSON.stringify(key)} holds ${canonical(found.value).slice(0, 200)}, which no accepted write gave it`;
    if (model.isVague || model.last === undefined) return undefined;
    const shown = found ? canonical(found.value) : "deleted";
    if (shown === model.last) return undefined;
    return `${JSON.stringify(key)} shows ${shown.slice(0, 200)}, last written was ${model.last.slice(0, 200)}`;
  }

  /** Against all that an export gave. */
  problemsOfExport(rows: ReadonlyMap<string, unknown>): string[] {
    const problems: string[] = [];
    const add = (problem: string | undefined): void => void (problem && problems.push(problem));
    for (const [key, value] of rows) add(this.problemOfRead(key, { value }));
    for (const key of this.#keys.keys()) if (!rows.has(key)) add(this.problemOfRead(key, undefined));
    return problems;
  }
}
