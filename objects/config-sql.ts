// An object's SQLite as pure modules use it.
import type { SqlStorage as ConfigSql } from "../src/storage/types.ts";

type Bindings = readonly (string | number | null | ArrayBuffer | Uint8Array)[];

export function configSql(storage: DurableObjectStorage): ConfigSql {
  const { sql } = storage;
  return {
    exec: <Row>(query: string, ...bindings: Bindings) =>
      sql.exec(query, ...(bindings as SqlStorageValue[])) as unknown as Iterable<Row>,
    transactionSync: (run) => storage.transactionSync(run),
  };
}
