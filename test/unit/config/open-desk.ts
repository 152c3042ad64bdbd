// A keyspace on node:sqlite for unit tests: what the object is in workerd, with a clock by hand.
import { CONFIG_MIGRATIONS } from "../../../migrations/config.ts";
import { Desk, type DeskOptions } from "../../../src/config/desk.ts";
import { referenceKernels } from "../../../src/storage/kernels.reference.ts";
import { NodeSql } from "../storage/node-sql.ts";

export interface OpenDesk {
  readonly sql: NodeSql;
  readonly clock: { ms: number };
  desk: Desk;
  /** Ends the turn and starts anew from what is stored. */
  restart(): void;
}

/** `stored`: a database that has its tables. */
export function openDesk(overrides: Partial<DeskOptions> = {}, stored?: NodeSql): OpenDesk {
  const sql = stored ?? new NodeSql();
  if (!stored) for (const statements of CONFIG_MIGRATIONS) sql.database.exec(statements);
  const clock = { ms: 1_000_000 };
  let random = 0;
  const open = (): Desk =>
    new Desk({
      sql,
      crc32c: referenceKernels.crc32c,
      now: () => clock.ms,
      random: (bytes) => new Uint8Array(bytes).fill(++random % 256),
      cacheBytes: 1024 * 1024,
      retention: { keepMs: 0, keepRevisions: 0 },
      onChange: () => undefined,
      ...overrides,
    });
  const opened: OpenDesk = {
    sql,
    clock,
    desk: open(),
    restart() {
      opened.desk.endTurn();
      sql.endTurn();
      opened.desk = open();
    },
  };
  return opened;
}
