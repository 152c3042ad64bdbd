// The checksum over what a storage node knows of its standing in `replica_facts`: whether it is being rebuilt, whether the Directory knows
// that it serves, and how many fillings were numbered.
// Guarantee: a changed one is never believed: the node is rebuilt, and no filling's number is used again. Must not: cover its identity
// (objects/replica-facts.ts does).
import { drain, firstOf } from "../storage/drain.ts";
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

/** Assumes the worst: the store may have been on its way of being filled. What it holds stays and is compared. */
export function doubtStanding(sql: Sql, kernels: Crc): void {
  const seen = firstOf(
    sql.exec<{ epoch: number | null }>(
      "SELECT max(epoch) AS epoch FROM (SELECT epoch FROM syncs UNION ALL SELECT epoch FROM filled)",
    ),
  );
  // A rebuild that ended says nothing any more: the next one must not be taken for it.
  drain(sql.exec("DELETE FROM syncs WHERE json_extract(state, '$.kind') = 'rebuild'"));
  const lastEpoch = (seen?.epoch ?? 0) + EPOCH_JUMP;
  drain(sql.exec("UPDATE replica_facts SET rebuilding = 1, confirmed = 1, last_epoch = ?", lastEpoch));
  sealStanding(sql, kernels);
}
