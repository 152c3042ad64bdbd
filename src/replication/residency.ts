// Frames over tables that cannot be read within a turn (R2, disk): what a frame will read is loaded before it is applied.
// Guarantees: `apply` runs in the turn in which a trial read of everything succeeded, so nothing is half applied when a compaction
// swapped a table meanwhile. Must not: be used where blobs are SQLite rows; it would cost every frame a decode.
import { decodeState } from "../kv/key-state.ts";
import { CorruptBlock, NotResident, type RecordKey, type RowKey, type StorageEngine } from "../storage/types.ts";
import { isOfFrame, type ReplicaOp } from "./frames.ts";
import { voteIdOf } from "./records.ts";

/** Rounds of loading before a frame is given up: compactions swap tables rarely. */
const MAX_LOAD_ROUNDS = 8;

export async function whenResident<T>(
  engine: StorageEngine,
  ops: readonly ReplicaOp[],
  apply: () => T,
  more: readonly RecordKey[] = [],
): Promise<T> {
  const rows = rowsOf(ops);
  const records = [...recordsOf(ops), ...more];
  for (let round = 0; round < MAX_LOAD_ROUNDS; round++) {
    await engine.prepare(rows, records);
    if (isResident(engine, rows, records)) return apply();
  }
  throw new Error(`blocks of ${rows.length} rows did not stay resident in ${MAX_LOAD_ROUNDS} rounds`);
}

function isResident(engine: StorageEngine, rows: readonly RowKey[], records: readonly RecordKey[]): boolean {
  const tryRead = (read: () => unknown): boolean => {
    try {
      read();
    } catch (error) {
      if (error instanceof NotResident) return false;
      // The operation itself will be refused as corrupt; here only residency matters.
      if (!(error instanceof CorruptBlock)) throw error;
    }
    return true;
  };
  return (
    rows.every((row) => tryRead(() => engine.get(row))) &&
    records.every(({ tenant, writeId }) => tryRead(() => engine.findRecord(tenant, writeId)))
  );
}

function rowsOf(ops: readonly ReplicaOp[]): RowKey[] {
  const rows: RowKey[] = [];
  for (const op of ops) if (op.kind !== "vote" && op.kind !== "hint" && !isOfFrame(op)) rows.push(op.row);
  return rows;
}

/** Write ids that applying these operations may look up. */
function recordsOf(ops: readonly ReplicaOp[]): RecordKey[] {
  const records: RecordKey[] = [];
  for (const op of ops) {
    if (op.kind === "stamp" || op.kind === "recall") records.push({ tenant: op.row.tenant, writeId: op.writeId });
    if (op.kind === "vote") records.push({ tenant: op.row.tenant, writeId: voteIdOf(op.writeId) });
    if (op.kind !== "merge" && op.kind !== "repair" && op.kind !== "heal") continue;
    const { versions, unsettled } = decodeState(op.state);
    for (const { writeId } of [...versions, ...unsettled]) records.push({ tenant: op.row.tenant, writeId });
  }
  return records;
}
