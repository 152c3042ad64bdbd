// Reads of a shard that any of its copies may answer, and which copies there are.
// Guarantees: an answer is at least as new as was asked for, or the leader's. Must not: choose (copy-loads.ts does).
import { withDeadline } from "../../objects/with-deadline.ts";
import { copyName, copyZones } from "../vector/database/placement.ts";
import { type DatabaseRecord, shardName } from "../vector/database/record.ts";
import type { ReplicaStatus } from "../vector/shard/shard-status.ts";
import { isGone, type VectorAnswer } from "../wire/vector.ts";
import { readVectorAnswer } from "../wire/vector-answers.ts";
import type { Call } from "./call.ts";
import { CopyLoads, readCopies } from "./copy-loads.ts";
import { COPIES_KNOWN_MS, MAX_KNOWN_DATABASES } from "./limits.ts";
import { Refreshed } from "./refreshed.ts";
import type { Services } from "./services.ts";
import { readingOf } from "./vector-ask.ts";
import { findDatabase, type KnownDatabase } from "./vector-databases.ts";

const LEADER = "leader";
/** Of the time that a read has, what a copy may take to become as new as was asked for. */
const CATCH_UP_SHARE = 0.5;

type KnownCopies = Pick<DatabaseRecord, "replication" | "placement">;

interface State {
  readonly loads: CopyLoads;
  readonly known: Refreshed<KnownCopies>;
}

const states = new WeakMap<Services, State>();

function stateOf(services: Services): State {
  let state = states.get(services);
  if (!state) {
    const { now, random } = services;
    const fraction = (): number => (random.bytes(1)[0]! * 256 + random.bytes(1)[0]!) / 65_536;
    const known = new Refreshed<KnownCopies>({ now, freshMs: COPIES_KNOWN_MS, capacity: MAX_KNOWN_DATABASES });
    state = { loads: new CopyLoads({ now, random: fraction }), known };
    states.set(services, state);
  }
  return state;
}

/** A change of the factor is known a little later; what is known serves while the tenant's owner is away. */
async function zonesOf(call: Call, database: KnownDatabase, shard: number): Promise<readonly string[]> {
  const { known } = stateOf(call.services);
  const record = await known.get(shardName(database, 0), async () => (await findDatabase(call, database)).record);
  return copyZones(record, shard);
}

/** As the request's consistency allows; `leader` asks the shard's owner. */
export async function readAnyCopy(
  call: Call,
  { database, shard, bytes }: { database: KnownDatabase; shard: number; bytes: Uint8Array },
  leader: () => Promise<VectorAnswer>,
): Promise<VectorAnswer> {
  const { services } = call;
  const reading = readingOf(call);
  const { consistency, deadlineMs } = reading;
  const zones = await zonesOf(call, database, shard);
  if (zones.length === 0) return leader();
  const name = shardName(database, shard);
  const least = reading.leastOf(database, shard);
  const ask = { atLeast: least, isRecent: consistency === "eventual", waitMs: deadlineMs * CATCH_UP_SHARE };
  const askCopy = async (zone: string): Promise<VectorAnswer | undefined> => {
    const work = services.stubs.vectorFollower(copyName(zone, name)).read(bytes, ask);
    const answered = await withDeadline(work, deadlineMs, "VectorFollower");
    const answer = answered && readVectorAnswer(answered);
    // One that has no memory for it, or was erased, says nothing about the others.
    return !answer || (answer.kind === "error" && (isGone(answer) || answer.code === "insufficientStorage"))
      ? undefined
      : answer;
  };
  return readCopies({
    loads: stateOf(services).loads,
    copies: [LEADER, ...zones].map((zone) => `${name} ${zone}`),
    leader: `${name} ${LEADER}`,
    ask: (copy) => {
      const zone = copy.slice(name.length + 1);
      return zone === LEADER ? leader() : askCopy(zone);
    },
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
  });
}

/** How long a copy may take to say how far it is. Ms. */
const FILLING_DEADLINE_MS = 2000;

/** What a shard says of its copies, and of those that are being filled what they say themselves. */
export function withFilling(
  { services }: Call,
  { database, shard }: { readonly database: KnownDatabase; readonly shard: number },
  replicas: readonly ReplicaStatus[] | undefined,
) {
  const name = shardName(database, shard);
  const each = replicas?.map(async (replica) => {
    if (replica.state !== "filling") return replica;
    const asked = services.stubs.vectorFollower(copyName(replica.zone, name)).filling();
    const told = await withDeadline(asked, FILLING_DEADLINE_MS, "VectorFollower").catch(() => undefined);
    return { ...replica, ...(told && { copied: { bytes: told.copiedBytes, ofBytes: told.bytes } }) };
  });
  return each && Promise.all(each);
}
