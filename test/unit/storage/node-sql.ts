// Node stand-in for a Durable Object's SQLite: node:sqlite with the turn's single commit made explicit.
// Guarantees: statements between two `endTurn` commit together, and were read to their end; `crash` loses what was not committed.
// Test only: production code must not import node:sqlite.

import { DatabaseSync, type StatementSync } from "node:sqlite";
import { STORAGE_MIGRATIONS } from "../../../migrations/storage.ts";
import type { SqlStorage } from "../../../src/storage/types.ts";

type Binding = string | number | null | ArrayBuffer | Uint8Array;

export class NodeSql implements SqlStorage {
  readonly database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #inTurn = false;
  #savepoints = 0;
  #cursors = 0;
  /** Statements with rows that nobody asked for. */
  readonly #open = new Map<number, string>();

  /** With a path: the database in that file, as it is. */
  constructor(path?: string) {
    this.database = new DatabaseSync(path ?? ":memory:");
    if (path !== undefined) return;
    for (const statements of STORAGE_MIGRATIONS) this.database.exec(statements);
  }

  exec<Row>(query: string, ...bindings: readonly Binding[]): Iterable<Row> {
    if (!this.#inTurn) {
      this.database.exec("BEGIN");
      this.#inTurn = true;
    }
    let statement = this.#statements.get(query);
    if (statement === undefined) {
      statement = this.database.prepare(query);
      this.#statements.set(query, statement);
    }
    const values = bindings.map((value) => (value instanceof ArrayBuffer ? new Uint8Array(value) : value));
    const rows = statement.all(...values).map((row) => {
      const entries = Object.entries(row).map(([name, value]) => [
        name,
        value instanceof Uint8Array ? value.slice().buffer : value,
      ]);
      return Object.fromEntries(entries) as Row;
    });
    return this.#readOnce(query, rows);
  }

  /** As in workerd, a statement is open until its last row was asked for. */
  #readOnce<Row>(query: string, rows: readonly Row[]): Iterable<Row> {
    const id = ++this.#cursors;
    let next = 0;
    if (rows.length > 0) this.#open.set(id, query);
    const iterator: Iterator<Row> = {
      next: () => {
        if (next < rows.length) return { done: false, value: rows[next++]! };
        this.#open.delete(id);
        return { done: true, value: undefined };
      },
    };
    return { [Symbol.iterator]: () => iterator };
  }

  transactionSync<T>(run: () => T): T {
    if (!this.#inTurn) {
      this.database.exec("BEGIN");
      this.#inTurn = true;
    }
    const savepoint = `savepoint_${this.#savepoints++}`;
    this.database.exec(`SAVEPOINT ${savepoint}`);
    try {
      const result = run();
      this.database.exec(`RELEASE ${savepoint}`);
      return result;
    } catch (error) {
      this.database.exec(`ROLLBACK TO ${savepoint}`);
      this.database.exec(`RELEASE ${savepoint}`);
      throw error;
    }
  }

  /** The turn ends: its statements become durable. */
  endTurn(): void {
    const [left] = this.#open.values();
    if (left !== undefined) throw new Error(`not read to its end, so the write-ahead log cannot begin anew: ${left}`);
    if (this.#inTurn) this.database.exec("COMMIT");
    this.#inTurn = false;
  }

  /** The process dies within the turn: its statements never were. */
  crash(): void {
    this.#open.clear();
    if (this.#inTurn) this.database.exec("ROLLBACK");
    this.#inTurn = false;
  }

  close(): void {
    this.database.close();
  }
}
