// Which processes of the cluster answer, as seen from a zone's process.
// Guarantees: each is asked once, all at the same time, with a deadline. Must not: be asked for each request; it is for people and probes.
import { clusterPlace } from "../src/cluster/placement.ts";
import type { Env } from "./env.ts";
import { ownLeadersRelay, relayOf } from "./reach.ts";
import type { ProcessState } from "./relay-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

export interface PeerState {
  readonly zone: string;
  readonly zoneProcess: ProcessState;
  readonly leadersProcess: ProcessState;
  /** Of the question to the zone's process; null = it did not answer. */
  readonly roundTripMs: number | null;
}

export interface PeersAsk {
  readonly now: () => number;
  readonly deadlineMs: number;
}

const stateOf = (isAnswering: boolean): ProcessState => (isAnswering ? "answering" : "away");

async function askOwnLeaders(env: Env, deadlineMs: number): Promise<ProcessState> {
  const about = withDeadline(ownLeadersRelay(env).about(), deadlineMs, "leaders");
  return stateOf(
    await about.then(
      () => true,
      () => false,
    ),
  );
}

async function askPeer(env: Env, zone: string, { now, deadlineMs }: PeersAsk): Promise<PeerState> {
  const beganMs = now();
  try {
    // It asks its own leaders, which nobody else has a way to.
    const { leaders } = await withDeadline(relayOf(env, { kind: "zone", zone }).about(), deadlineMs, zone);
    return { zone, zoneProcess: "answering", leadersProcess: leaders, roundTripMs: now() - beganMs };
  } catch {
    return { zone, zoneProcess: "away", leadersProcess: "unknown", roundTripMs: null };
  }
}

/** Undefined = there is no cluster. */
export async function peersOf(env: Env, ask: PeersAsk): Promise<PeerState[] | undefined> {
  const place = clusterPlace(env.JADE_CLUSTER);
  if (!place) return undefined;
  const here = async (): Promise<PeerState> => {
    const leadersProcess = await askOwnLeaders(env, ask.deadlineMs);
    return { zone: place.zone, zoneProcess: "answering", leadersProcess, roundTripMs: 0 };
  };
  return Promise.all(place.zones.map((zone) => (zone === place.zone ? here() : askPeer(env, zone, ask))));
}

/** For a peer that asks: how the leaders' process beside this one is. */
export function ownLeaders(env: Env, deadlineMs: number): Promise<ProcessState> {
  return clusterPlace(env.JADE_CLUSTER)?.role === "zone"
    ? askOwnLeaders(env, deadlineMs)
    : Promise.resolve("answering");
}
