// Node stand-in for a Durable Object's SQLite: node:sqlite with the turn's single commit made explicit.
// Guarantees: statements between two `endTurn` commit together; `crash` loses what was not committed. Test only: production
// code must not import node:sqlite.

import { DatabaseSync, type StatementSync } from "node:sqlite";
import { STORAGE_MIGRATIONS } from "../../../migrations/storage.ts";
import type { SqlStorage } from "../../../src/storage/types.ts";

type Binding = string | number | null | ArrayBuffer | Uint8Array;

export class NodeSql implements SqlStorage {
  readonly database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #inTurn = false;
  #savepoints = 0;

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
    return statement.all(...values).map((row) => {
      const entries = Object.entries(row).map(([name, value]) => [
        name,
        value instanceof Uint8Array ? value.slice().buffer : value,
      ]);
      return Object.fromEntries(entries) as Row;
    });
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
    if (this.#inTurn) this.database.exec("COMMIT");
    this.#inTurn = false;
  }

  /** The process dies within the turn: its statements never were. */
  crash(): void {
    if (this.#inTurn) this.database.exec("ROLLBACK");
    this.#inTurn = false;
  }

  close(): void {
    this.database.close();
  }
}
