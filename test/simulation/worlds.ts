// The kinds of random schedules, each with its clients, its faults and the mistakes that are planted to prove that its checker sees them.
// All run on one queue of events, one disk and one hint log of the simulator; `quorum` schedules are data and can be cut down.
import { runSeed as runQuorumSeed } from "./random-run.ts";
import { runPurgeSeed } from "./routes/purge-run.ts";
import { PURGE_PLANTED } from "./routes/purge-sabotage.ts";
import { runSeed as runFillingSeed } from "./routes/random-run.ts";
import { runRingSeed } from "./routes/ring-run.ts";
import { RING_PLANTED } from "./routes/ring-sabotage.ts";
import { runRouteSeed } from "./routes/route-run.ts";
import { ROUTE_PLANTED } from "./routes/route-sabotage.ts";
import { PLANTED as FILLING_PLANTED } from "./routes/sabotage.ts";
import { PLANTED as QUORUM_PLANTED } from "./sabotage.ts";

export interface SeedResult {
  readonly problems: readonly string[];
  /** Answers by kind. */
  readonly counts: Readonly<Record<string, number>>;
}

export interface WorldKind {
  /** Names of the planted mistakes. */
  readonly planted: readonly string[];
  readonly run: (seed: number, planted: string | undefined) => Promise<SeedResult>;
}

function kindOf<Sabotage>(
  planted: Readonly<Record<string, Sabotage>>,
  run: (seed: number, sabotage: Sabotage | undefined) => Promise<SeedResult>,
): WorldKind {
  return {
    planted: Object.keys(planted),
    run: (seed, name) => run(seed, name === undefined ? undefined : planted[name]),
  };
}

export const WORLDS: Readonly<Record<string, WorldKind>> = {
  /** Replicas that do not change: losses, repeats, delays, crashes, clocks, slow nodes, damaged rows. */
  quorum: kindOf(QUORUM_PLANTED, (seed, make) => runQuorumSeed(seed, { sabotage: make?.(), traced: false })),
  /** Disks are lost and rebuilt, ranges repaired. */
  filling: kindOf(FILLING_PLANTED, (seed, sabotage) => runFillingSeed(seed, sabotage)),
  /** The replication factor changes under load. */
  factor: kindOf(ROUTE_PLANTED, (seed, sabotage) => runRouteSeed(seed, sabotage)),
  /** Storage nodes join, leave, are replaced and weigh more or less under load. */
  ring: kindOf(RING_PLANTED, (seed, sabotage) => runRingSeed(seed, sabotage)),
  /** Deleted rows are purged under load, while the factor changes too. */
  purge: kindOf(PURGE_PLANTED, (seed, sabotage) => runPurgeSeed(seed, sabotage)),
};
