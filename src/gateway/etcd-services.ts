// etcd's Cluster, Maintenance and Auth services over what this deployment has: one member, tenants as users, scopes as roles.
// Guarantees: reading works as far as it means something here; what would change members, users or roles is refused and says where.
import { parseApiKey } from "../access/api-key.ts";
import { GRPC, ownRefusal, refusal } from "../etcd/errors.ts";
import { ETCD_VERSION, headerOf, parseUser, tokenOf } from "../etcd/identity.ts";
import { jsonOf, messageOfJson } from "../etcd/json.ts";
import type { AuthenticateRequest, AuthRoleGetRequest, AuthUserGetRequest } from "../etcd/messages-service.ts";
import { REFUSED_METHODS, SERVICE_METHODS } from "../etcd/services.ts";
import type { StatusAnswer } from "../wire/config.ts";
import { PublicError } from "../wire/error-codes.ts";
import { authenticate, requireScope } from "./access.ts";
import type { Call } from "./call.ts";
import { callConfig } from "./config-call.ts";
import { callerIn, type EtcdCaller, etcdCaller, isNamespace } from "./etcd-caller.ts";
import { campaign, leaderOf, lock, proclaim, resign, unlock } from "./etcd-locks.ts";
import { hashKv } from "./etcd-snapshot.ts";

type Run = (call: Call, message: never) => Promise<unknown>;

const MEMBER_NAME = "jade";
/** Of authpb.Permission. */
const READ = 0;
const READ_WRITE = 2;
const ROLES: ReadonlyMap<string, number> = new Map([
  ["admin", READ_WRITE],
  ["read-only", READ],
  ["read-write", READ_WRITE],
]);

/** The keyspace's state with the header of an answer about it. */
async function stateOf(call: Call, caller: EtcdCaller) {
  const status = await callConfig(call, caller.keyspace, { kind: "status" });
  return { status: status as StatusAnswer, header: headerOf(caller.identity, status.header) };
}

async function memberList(call: Call): Promise<unknown> {
  const caller = await etcdCaller(call);
  const { clusterId, memberId, raftTerm } = (await stateOf(call, caller)).header;
  const urls = [new URL(call.request.url).origin];
  const member = { id: memberId, name: MEMBER_NAME, peerUrls: urls, clientUrls: urls };
  return { header: { clusterId, memberId, raftTerm }, members: [member] };
}

async function status(call: Call): Promise<unknown> {
  const caller = await etcdCaller(call);
  const { status, header } = await stateOf(call, caller);
  const { revision, raftTerm } = header;
  const raft = { leader: caller.identity.memberId, raftIndex: revision, raftTerm, raftAppliedIndex: revision };
  return { header, version: ETCD_VERSION, ...raft, dbSize: status.databaseBytes, dbSizeInUse: status.databaseBytes };
}

/** The chain value over all records: two copies of a log that differ anywhere differ in it. */
async function hash(call: Call): Promise<unknown> {
  const { status, header } = await stateOf(call, await etcdCaller(call));
  return { header, hash: status.chain };
}

/** There is nothing to do, or to tell, but the caller must be somebody. */
async function nothing(call: Call): Promise<unknown> {
  await etcdCaller(call);
  return {};
}

async function login(call: Call, { name = "", password = "" }: AuthenticateRequest): Promise<unknown> {
  const { tenantId, namespace } = parseUser(name);
  if (!isNamespace(namespace) || parseApiKey(password)?.tenantId !== tenantId) throw refusal("authenticationFailed");
  try {
    const caller = callerIn(requireScope(await authenticate(call, password), "read-only"), namespace);
    return { header: (await stateOf(call, caller)).header, token: tokenOf(password, namespace) };
  } catch (error) {
    if (error instanceof PublicError && error.code === "unauthenticated") throw refusal("authenticationFailed");
    throw error;
  }
}

async function authStatus(call: Call): Promise<unknown> {
  const { header } = await stateOf(call, await etcdCaller(call));
  return { header, enabled: !call.services.settings.etcd.allowAnonymous };
}

async function userList(call: Call): Promise<unknown> {
  const caller = await etcdCaller(call);
  return { header: (await stateOf(call, caller)).header, users: [caller.principal.tenantId] };
}

async function userGet(call: Call, { name = "" }: AuthUserGetRequest): Promise<unknown> {
  const caller = await etcdCaller(call);
  if (parseUser(name).tenantId !== caller.principal.tenantId) throw refusal("userNotFound");
  return { header: (await stateOf(call, caller)).header, roles: [caller.principal.scope] };
}

async function roleList(call: Call): Promise<unknown> {
  return { header: (await stateOf(call, await etcdCaller(call))).header, roles: [...ROLES.keys()] };
}

async function roleGet(call: Call, { role = "" }: AuthRoleGetRequest): Promise<unknown> {
  const caller = await etcdCaller(call);
  const permType = ROLES.get(role);
  if (permType === undefined) throw refusal("roleNotFound");
  // All keys.
  return { header: (await stateOf(call, caller)).header, perm: [{ permType, key: "\0", rangeEnd: "\0" }] };
}

async function refused(call: Call): Promise<never> {
  await etcdCaller(call);
  const what = call.path.includes("/auth/")
    ? "users are tenants and roles are scopes of API keys: change them under /v1/tenants"
    : "members are the deployment's: they are not changed through this API";
  throw ownRefusal(GRPC.unimplemented, what);
}

const RUN: Readonly<Record<string, Run>> = {
  "/cluster/member/list": memberList,
  "/maintenance/status": status,
  "/maintenance/alarm": nothing,
  "/maintenance/defragment": nothing,
  "/maintenance/hash": hash,
  "/maintenance/hashkv": hashKv,
  "/auth/authenticate": login,
  "/auth/status": authStatus,
  "/auth/user/list": userList,
  "/auth/user/get": userGet,
  "/auth/role/list": roleList,
  "/auth/role/get": roleGet,
  "/lock/lock": lock,
  "/lock/unlock": unlock,
  "/election/campaign": campaign,
  "/election/proclaim": proclaim,
  "/election/leader": leaderOf,
  "/election/resign": resign,
};

const refusedPaths = new Set(REFUSED_METHODS.map(({ path }) => path));

/** By path below `/v3`. */
export const SERVICE_HANDLERS: readonly (readonly [string, (call: Call, body: string) => Promise<string>])[] =
  SERVICE_METHODS.map(({ path, request, response }) => {
    const run = refusedPaths.has(path) ? refused : RUN[path];
    if (!run) throw new Error(`${path} has no handler`);
    const handler = async (call: Call, body: string): Promise<string> =>
      jsonOf(response, await run(call, messageOfJson(request, body) as never));
    return [path, handler] as const;
  });
