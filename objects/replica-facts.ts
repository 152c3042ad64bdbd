// A storage node's own durable facts: who it is, under which incarnation it stamps, and how far its counters are reserved.
// Guarantees: a row that fails its checksum is never used: the node takes a new incarnation, so that no dot comes twice.
// Must not: reserve anything outside the turn that commits it.
import { clusterPlace } from "../src/cluster/placement.ts";
import type { ReplicaFacts } from "../src/replication/facts.ts";
import {
  areTablesWhole,
  doubtStanding,
  epochAboveAll,
  forgetTables,
  isStandingWhole,
  StandingTables,
  sealStanding,
} from "../src/replication/standing-check.ts";
import type { Kernels } from "../src/storage/types.ts";
import type { Env } from "./env.ts";
import type { Registration } from "./rpc.ts";

interface FactsRow extends Record<string, SqlStorageValue> {
  node_number: number;
  incarnation: number;
  reserved_counter: number;
  confirmed: number;
  rebuilding: number;
  crc: number | null;
}

export interface FactsOptions {
  readonly storage: DurableObjectStorage;
  readonly kernels: Pick<Kernels, "crc32c">;
  /** Asks the Directory for an incarnation that never stamped a dot. `mustRebuild`: the node served before. */
  readonly register: () => Promise<Registration>;
  /** The stored row failed its checksum. */
  readonly onCorrupt: () => void;
}

export interface Facts {
  readonly nodeNumber: number;
  readonly incarnation: number;
  /** False: the Directory must know that this store may be relied on before the first answer. */
  readonly isConfirmed: boolean;
  readonly erased: Set<number>;
  /** Something of it failed its checksum at this start. */
  readonly isDamaged: boolean;
  readonly facts: Pick<ReplicaFacts, "reservedCounter" | "reserveCounter" | "isErased">;
}

const QUERY = "SELECT node_number, incarnation, reserved_counter, confirmed, rebuilding, crc FROM replica_facts";

export async function loadFacts({ storage, kernels, register, onCorrupt }: FactsOptions): Promise<Facts> {
  const { sql } = storage;
  const crcOf = (number: number, incarnation: number, reserved: number): number =>
    kernels.crc32c(new TextEncoder().encode(JSON.stringify([number, incarnation, reserved])));
  let row = [...sql.exec<FactsRow>(QUERY)][0];
  const isDamaged =
    row !== undefined && row.crc !== null && row.crc !== crcOf(row.node_number, row.incarnation, row.reserved_counter);
  const sqlOf = {
    exec: <Row>(query: string, ...values: never[]) => sql.exec(query, ...values) as unknown as Iterable<Row>,
  };
  // What may have been on its way of being filled must not count before it was.
  const areTablesDamaged = !areTablesWhole(sqlOf, kernels);
  const isStandingDamaged = !isStandingWhole(sqlOf, kernels) || areTablesDamaged;
  const mayBeEmpty = isStandingDamaged || row?.rebuilding === 1;
  if (isDamaged || isStandingDamaged) onCorrupt();
  // What it promised about purges only the Directory knows now, which tells it to a new incarnation.
  if (isDamaged || areTablesDamaged) row = undefined;
  if (!row) {
    const lastEpoch = isStandingDamaged || isDamaged ? epochAboveAll(sqlOf) : 0;
    const { nodeNumber, incarnation, mustRebuild, floor, horizon } = await register();
    if (areTablesDamaged) forgetTables(sqlOf);
    // Only the node's name tag is damaged: what it stores is under checksums of its own and need not be fetched again.
    const isRebuilt = mustRebuild && (!isDamaged || mayBeEmpty);
    const crc = crcOf(nodeNumber, incarnation, 0);
    sql.exec("DELETE FROM replica_facts");
    sql.exec(
      `INSERT INTO replica_facts (id, node_number, incarnation, reserved_counter, rebuilding, confirmed, last_epoch, crc)
       VALUES (1, ?, ?, 0, ?, ?, ?, ?)`,
      ...[nodeNumber, incarnation, isRebuilt ? 1 : 0, isRebuilt ? 1 : 0, lastEpoch, crc],
    );
    sql.exec(
      `INSERT INTO purge_marks VALUES (1, ?, ?, 0, 0) ON CONFLICT (id) DO UPDATE SET
         floor = MAX(floor, excluded.floor), horizon = MAX(horizon, excluded.horizon)`,
      ...[floor, horizon],
    );
    sealStanding(sqlOf, kernels);
    new StandingTables(sqlOf, kernels).seal();
    await storage.sync();
    row = sql.exec<FactsRow>(QUERY).one();
  }
  if (isStandingDamaged) doubtStanding(sqlOf, kernels);
  const { node_number: nodeNumber, incarnation } = row;
  let reserved = row.reserved_counter;
  // The engine's list, which its manifest's checksum covers: the engine refuses to open where that is wrong.
  const erased = new Set([...sql.exec<{ tenant: number }>("SELECT tenant FROM storage_erased")].map((e) => e.tenant));
  const facts: Facts["facts"] = {
    reservedCounter: () => reserved,
    reserveCounter: (upTo) => {
      reserved = upTo;
      const crc = crcOf(nodeNumber, incarnation, upTo);
      sql.exec("UPDATE replica_facts SET reserved_counter = ?, crc = ?", upTo, crc);
    },
    isErased: (tenant) => erased.has(tenant),
  };
  const isConfirmed = isStandingDamaged || row.confirmed !== 0;
  return { nodeNumber, incarnation, isConfirmed, erased, isDamaged: isDamaged || isStandingDamaged, facts };
}

/** A new storage's incarnation, of the node as the Directory has it. */
export function registerNode(env: Env, nodeId: string): Promise<Registration> {
  const directory = env.DIRECTORY.get(env.DIRECTORY.idFromName("system"));
  return directory.registerIncarnation(nodeId, clusterPlace(env.JADE_CLUSTER)?.zone);
}
