// etcd's Lock and Election services over a keyspace's locks: the same keys as etcd's, `<name>/<lease in hex>`.
// Guarantees: who waits is woken in its turn; a lease of their own, where none is given, ends a minute later, as etcd's does.
import { MAX_LOCK_WAIT_MS } from "../config/limits.ts";
import { EtcdError, etcdErrorOf, GRPC, ownRefusal, refusal } from "../etcd/errors.ts";
import { headerOf } from "../etcd/identity.ts";
import type {
  CampaignRequest,
  LeaderKey,
  LeaderRequest,
  LockRequest,
  ProclaimRequest,
  ResignRequest,
  UnlockRequest,
} from "../etcd/messages-lock.ts";
import { deleteRangeOf } from "../etcd/operations.ts";
import type { AcquireAnswer, AnswerHeader, BinaryKey, ConfigFailure, LeaseId, Ownership } from "../wire/config.ts";
import type { Call } from "./call.ts";
import { callConfig } from "./config-call.ts";
import { reading } from "./errors.ts";
import { type EtcdCaller, etcdCaller, requireEtcdScope } from "./etcd-caller.ts";

/** Of a lock without one. Seconds. */
const OWN_LEASE_SECONDS = 60;
const NO_VALUE = new Uint8Array(0);

function keyspaceOf(call: Call, { keyspace }: EtcdCaller) {
  return call.services.stubs.configKeyspace(keyspace.tenant, keyspace.namespace);
}

async function ownershipOf(
  { services }: Call,
  { keyspace }: EtcdCaller,
  name: BinaryKey,
): Promise<Ownership | ConfigFailure> {
  const object = await services.stubs.configKeyspaceToRead(keyspace.tenant, keyspace.namespace);
  return object.ownership(name);
}

async function writer(call: Call): Promise<EtcdCaller> {
  const caller = await etcdCaller(call);
  requireEtcdScope(caller, "read-write");
  return caller;
}

async function ownLease(call: Call, { keyspace }: EtcdCaller): Promise<LeaseId> {
  const granted = await callConfig(call, keyspace, { kind: "leaseGrant", lease: "", ttlSeconds: OWN_LEASE_SECONDS });
  return granted.lease;
}

interface Wanted {
  readonly name: string;
  readonly lease: LeaseId;
  readonly value: Uint8Array;
}

async function acquire(call: Call, caller: EtcdCaller, wanted: Wanted): Promise<AcquireAnswer> {
  if (wanted.name === "") throw ownRefusal(GRPC.invalidArgument, "name is empty");
  let answer: AcquireAnswer | ConfigFailure;
  try {
    answer = await keyspaceOf(call, caller).acquire({ ...wanted, waitMs: MAX_LOCK_WAIT_MS });
  } catch (error) {
    call.services.log.warn("keyspace call failed", { requestId: call.requestId, route: call.route }, error);
    throw refusal("timeout");
  }
  if (answer.kind === "error") throw etcdErrorOf(answer);
  return answer;
}

export async function lock(call: Call, { name = "", lease = "" }: LockRequest): Promise<unknown> {
  const caller = await writer(call);
  const held = lease === "" ? await ownLease(call, caller) : lease;
  const { header, key } = await acquire(call, caller, { name, lease: held, value: NO_VALUE });
  return { header: headerOf(caller.identity, header), key };
}

export async function unlock(call: Call, message: UnlockRequest): Promise<unknown> {
  const caller = await writer(call);
  const { header } = await callConfig(call, caller.keyspace, deleteRangeOf(message));
  return { header: headerOf(caller.identity, header) };
}

export async function campaign(call: Call, message: CampaignRequest): Promise<unknown> {
  const { name = "", lease: given = "", value = NO_VALUE } = message;
  const caller = await writer(call);
  const lease = given === "" ? await ownLease(call, caller) : given;
  const { header, key, fencingToken: rev } = await acquire(call, caller, { name, lease, value });
  return { header: headerOf(caller.identity, header), leader: { name, key, rev, lease } };
}

async function released(call: Call, leader: LeaderKey | undefined, proclaim?: Uint8Array): Promise<unknown> {
  const caller = await writer(call);
  const { name = "", rev = 0 } = leader ?? {};
  if (name === "") throw new EtcdError(GRPC.invalidArgument, '"leader" field must be provided');
  const release = { name, fencingToken: rev, ...(proclaim ? { proclaim } : {}) };
  const answer = await reading<{ readonly header: AnswerHeader } | ConfigFailure>(
    keyspaceOf(call, caller).release(release),
    "ConfigKeyspace",
  );
  if ("kind" in answer) {
    if (answer.code !== "notOwner") throw etcdErrorOf(answer);
    // etcd lets somebody resign who does not lead.
    if (proclaim) throw new EtcdError(GRPC.failedPrecondition, "election: not leader");
    const { header } = await callConfig(call, caller.keyspace, { kind: "status" });
    return { header: headerOf(caller.identity, header) };
  }
  return { header: headerOf(caller.identity, answer.header) };
}

export function proclaim(call: Call, { leader, value = NO_VALUE }: ProclaimRequest): Promise<unknown> {
  return released(call, leader, value);
}

export function resign(call: Call, { leader }: ResignRequest): Promise<unknown> {
  return released(call, leader);
}

export async function leaderOf(call: Call, { name = "" }: LeaderRequest): Promise<unknown> {
  const caller = await etcdCaller(call);
  const answer = await reading(ownershipOf(call, caller, name), "ConfigKeyspace");
  if ("kind" in answer) throw etcdErrorOf(answer);
  const { header, owner } = answer;
  if (!owner) throw new EtcdError(GRPC.notFound, "election: no leader");
  return { header: headerOf(caller.identity, header), kv: owner };
}
