// Rows of a SQL table with CRC32C in their column `crc`: for objects whose tables are few and small.
// Guarantees: a row that does not match is refused (CorruptRecord), and not changed as if it were whole. NULL = not sealed: what the statement of
// this turn wrote, or an earlier build; both are sealed at once. A migration that adds a column must set `crc` to NULL. Must not: be used for hot rows.
import kernelModule from "../dist/wasm/storage.wasm";
import { CorruptRecord } from "../src/config/record.ts";
import { createKernels } from "../src/storage/kernels.ts";

type Values = Record<string, SqlStorageValue>;

const kernels = createKernels(kernelModule);
const encoder = new TextEncoder();

/** Of all columns but `crc`, in the order of their names. */
export function crcOfRow(row: Readonly<Values>): number {
  const columns = Object.keys(row).filter((name) => name !== "crc");
  const values = columns.sort().map((name) => {
    const value = row[name];
    return [name, value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value];
  });
  return kernels.crc32c(encoder.encode(JSON.stringify(values)));
}

export class CheckedTable<Row extends object> {
  readonly #sql: SqlStorage;
  readonly #table: string;
  readonly #key: string;

  /** `key`: the column that tells rows apart. */
  constructor(sql: SqlStorage, table: string, key: string) {
    this.#sql = sql;
    this.#table = table;
    this.#key = key;
  }

  /** `rest`: everything behind `FROM <table>`. Throws CorruptRecord. */
  select(rest: string, ...bindings: readonly SqlStorageValue[]): Row[] {
    return this.#rows(rest, bindings).map((row) => {
      if (!isWhole(row)) throw new CorruptRecord(`a row of ${this.#table} fails its checksum`);
      return row as unknown as Row;
    });
  }

  /** Without the rows that are damaged. */
  selectWhole(rest: string, ...bindings: readonly SqlStorageValue[]): Row[] {
    return this.#rows(rest, bindings).filter(isWhole) as unknown as Row[];
  }

  #rows(rest: string, bindings: readonly SqlStorageValue[]): Values[] {
    return this.#sql.exec<Values>(`SELECT * FROM ${this.#table} ${rest}`, ...bindings).toArray();
  }

  insert(row: Readonly<Partial<Row>>): void {
    const [names, values] = [Object.keys(row), Object.values(row) as SqlStorageValue[]];
    const places = names.map(() => "?").join(", ");
    this.#sql.exec(`INSERT INTO ${this.#table} (${names.join(", ")}) VALUES (${places})`, ...values);
    const key = row[this.#key as keyof Row] as SqlStorageValue | undefined;
    if (key === undefined) this.seal();
    else for (const inserted of this.#rows(`WHERE ${this.#key} = ?`, [key])) this.#sealOne(inserted);
  }

  /** Throws CorruptRecord, and changes nothing, where one of the rows is damaged. */
  update(change: Change): void {
    this.select(`WHERE ${change.where}`, ...(change.of ?? []));
    this.updateUnchecked(change);
  }

  /** For what must go on over damage: an erasure. */
  updateUnchecked({ set, to = [], where, of = [] }: Change): void {
    this.#sql.exec(`UPDATE ${this.#table} SET ${set}, crc = NULL WHERE ${where}`, ...to, ...of);
    this.seal();
  }

  /** All that is not sealed yet: reads the whole table. */
  seal(): void {
    for (const row of this.#rows("WHERE crc IS NULL", [])) this.#sealOne(row);
  }

  #sealOne(row: Values): void {
    this.#sql.exec(`UPDATE ${this.#table} SET crc = ? WHERE ${this.#key} = ?`, crcOfRow(row), row[this.#key]!);
  }
}

export interface Change {
  readonly set: string;
  readonly to?: readonly SqlStorageValue[];
  readonly where: string;
  readonly of?: readonly SqlStorageValue[];
}

function isWhole(row: Values): boolean {
  return row["crc"] === crcOfRow(row);
}
