// The checksum over what a storage node knows of its standing in `replica_facts`: whether it is being rebuilt, whether the Directory knows
// that it serves, and how many fillings were numbered. And the one over the tables of what it was told: routes, comparisons, fillings, purges.
// Guarantee: a changed one is never believed: the node is rebuilt, and no filling's number is used again. Must not: cover its identity
// (objects/replica-facts.ts does).
import { drain, firstOf } from "../storage/drain.ts";
import { ManifestCheck } from "../storage/manifest-check.ts";
import type { Kernels, SqlStorage } from "../storage/types.ts";

type Sql = Pick<SqlStorage, "exec">;
type Crc = Pick<Kernels, "crc32c">;

interface StandingRow {
  readonly rebuilding: number;
  readonly confirmed: number;
  readonly last_epoch: number;
  readonly standing_crc: number | null;
}

/** Fillings that a damaged number may have forgotten, many times over. */
const EPOCH_JUMP = 1_000_000;
/** More fillings than a node ever has, a jump for each of a million damages included: a number above it is damaged. */
const MAX_EPOCH = 2 ** 40;

function rowOf(sql: Sql): StandingRow | undefined {
  return firstOf(sql.exec<StandingRow>("SELECT rebuilding, confirmed, last_epoch, standing_crc FROM replica_facts"));
}

function crcOf({ rebuilding, confirmed, last_epoch }: StandingRow, kernels: Crc): number {
  return kernels.crc32c(new TextEncoder().encode(JSON.stringify(["standing", rebuilding, confirmed, last_epoch])));
}

/** Call in the turn of every change to one of them. */
export function sealStanding(sql: Sql, kernels: Crc): void {
  const row = rowOf(sql);
  if (row) drain(sql.exec("UPDATE replica_facts SET standing_crc = ?", crcOf(row, kernels)));
}

/** The Directory knows that the node serves. */
export function confirmStanding(sql: Sql, kernels: Crc): void {
  drain(sql.exec("UPDATE replica_facts SET confirmed = 1"));
  sealStanding(sql, kernels);
}

/** False where a stored one changed. Rows of before the checksum get it. */
export function isStandingWhole(sql: Sql, kernels: Crc): boolean {
  const row = rowOf(sql);
  if (row === undefined) return true;
  if (row.standing_crc === null) sealStanding(sql, kernels);
  return row.standing_crc === null || row.standing_crc === crcOf(row, kernels);
}

/** A row under the tables' check: the table's name and its columns in order. */
type Told = readonly [table: "route" | "sync" | "filling" | "filled" | "purge", ...columns: (string | number)[]];

/** The check over the tables of what a node was told, kept by difference. */
export class StandingTables {
  readonly #check: ManifestCheck;
  readonly #sql: Sql;

  constructor(sql: Sql, kernels: Crc) {
    this.#sql = sql;
    this.#check = new ManifestCheck(kernels);
    for (const row of toldRows(sql)) this.#check.toggle(...row);
  }

  get value(): number {
    return this.#check.value;
  }

  /** Call in the turn of every change to a row of the tables; undefined = there was, or is, none. */
  change(before: Told | undefined, after: Told | undefined): void {
    if (before) this.#check.toggle(...before);
    if (after) this.#check.toggle(...after);
    this.seal();
  }

  seal(): void {
    drain(this.#sql.exec("UPDATE replica_facts SET tables_check = ?", this.value));
  }
}

function* toldRows(sql: Sql): Iterable<Told> {
  type Row = Record<string, string | number>;
  for (const row of sql.exec<Row>("SELECT tenant, revision FROM routes"))
    yield ["route", row["tenant"]!, row["revision"]!];
  for (const row of sql.exec<Row>("SELECT epoch, state FROM syncs")) yield ["sync", row["epoch"]!, row["state"]!];
  for (const row of sql.exec<Row>("SELECT tenant, ranges FROM filling"))
    yield ["filling", row["tenant"]!, row["ranges"]!];
  // Not at_ms, which nobody reads.
  for (const row of sql.exec<Row>("SELECT epoch FROM filled")) yield ["filled", row["epoch"]!];
  for (const row of sql.exec<Row>("SELECT id, floor, horizon, drop_up_to, swept FROM purge_marks"))
    yield ["purge", row["id"]!, row["floor"]!, row["horizon"]!, row["drop_up_to"]!, row["swept"]!];
}

/** False where a row was changed, is missing or too many. Tables of before the check get it. */
export function areTablesWhole(sql: Sql, kernels: Crc): boolean {
  const row = firstOf(sql.exec<{ tables_check: number | null }>("SELECT tables_check FROM replica_facts"));
  if (row === undefined) return true;
  const tables = new StandingTables(sql, kernels);
  if (row.tables_check === null) tables.seal();
  return row.tables_check === null || row.tables_check === tables.value;
}

/** Nothing of the tables is believed. What the Directory and the other replicas know is asked for anew, by a rebuild. */
export function forgetTables(sql: Sql): void {
  for (const table of ["routes", "syncs", "filling", "filled", "purge_marks"]) drain(sql.exec(`DELETE FROM ${table}`));
}

/** Above every filling that was ever numbered here, whichever of the numbers are damaged. */
export function epochAboveAll(sql: Sql): number {
  const seen = firstOf(
    sql.exec<{ epoch: number | null }>(
      `SELECT max(epoch) AS epoch FROM (SELECT epoch FROM syncs UNION ALL SELECT epoch FROM filled
         UNION ALL SELECT last_epoch AS epoch FROM replica_facts) WHERE typeof(epoch) = 'integer' AND epoch < ?`,
      MAX_EPOCH,
    ),
  );
  return (seen?.epoch ?? 0) + EPOCH_JUMP;
}

/** Assumes the worst: the store may have been on its way of being filled. What it holds stays and is compared. */
export function doubtStanding(sql: Sql, kernels: Crc): void {
  const lastEpoch = epochAboveAll(sql);
  // A rebuild that ended says nothing any more: the next one must not be taken for it.
  drain(sql.exec("DELETE FROM syncs WHERE json_extract(state, '$.kind') = 'rebuild'"));
  drain(sql.exec("UPDATE replica_facts SET rebuilding = 1, confirmed = 1, last_epoch = ?", lastEpoch));
  sealStanding(sql, kernels);
  new StandingTables(sql, kernels).seal();
}
