// The methods of etcd's Cluster, Maintenance and Auth services: name in gRPC, path in JSON, messages. What they do is the gateway's.
import { EmptyRequest, HeaderResponse } from "./messages.ts";
import {
  CampaignRequest,
  CampaignResponse,
  LeaderRequest,
  LeaderResponse,
  LockRequest,
  LockResponse,
  ProclaimRequest,
  ResignRequest,
  UnlockRequest,
} from "./messages-lock.ts";
import {
  AlarmRequest,
  AlarmResponse,
  AuthenticateRequest,
  AuthenticateResponse,
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleListResponse,
  AuthStatusResponse,
  AuthUserGetRequest,
  AuthUserGetResponse,
  AuthUserListResponse,
  HashKvRequest,
  HashKvResponse,
  MemberListResponse,
  SnapshotResponse,
  StatusResponse,
} from "./messages-service.ts";
import type { MessageType } from "./schema.ts";

export interface ServiceMethod {
  readonly rpc: string;
  /** Below `/v3`. */
  readonly path: string;
  readonly request: MessageType<unknown>;
  readonly response: MessageType<unknown>;
}

/** Of the services Lock and Election: what may wait for its turn. */
export const LOCK_METHODS: readonly ServiceMethod[] = [
  { rpc: "/v3lockpb.Lock/Lock", path: "/lock/lock", request: LockRequest, response: LockResponse },
  { rpc: "/v3lockpb.Lock/Unlock", path: "/lock/unlock", request: UnlockRequest, response: HeaderResponse },
  {
    rpc: "/v3electionpb.Election/Campaign",
    path: "/election/campaign",
    request: CampaignRequest,
    response: CampaignResponse,
  },
  {
    rpc: "/v3electionpb.Election/Proclaim",
    path: "/election/proclaim",
    request: ProclaimRequest,
    response: HeaderResponse,
  },
  { rpc: "/v3electionpb.Election/Leader", path: "/election/leader", request: LeaderRequest, response: LeaderResponse },
  { rpc: "/v3electionpb.Election/Resign", path: "/election/resign", request: ResignRequest, response: HeaderResponse },
];

export const SNAPSHOT_PATH = "/maintenance/snapshot";
export const OBSERVE_PATH = "/election/observe";

/** One request, and answers until somebody ends it. */
export const STREAM_METHODS: readonly ServiceMethod[] = [
  { rpc: "/etcdserverpb.Maintenance/Snapshot", path: SNAPSHOT_PATH, request: EmptyRequest, response: SnapshotResponse },
  { rpc: "/v3electionpb.Election/Observe", path: OBSERVE_PATH, request: LeaderRequest, response: LeaderResponse },
];

function method(rpc: string, path: string, request: MessageType<unknown>, response: MessageType<unknown>) {
  return { rpc: `/etcdserverpb.${rpc}`, path, request, response };
}

/** They change what this face does not keep: members are the deployment's, users and roles the tenants'. */
const REFUSED = [
  ["Cluster/MemberAdd", "/cluster/member/add"],
  ["Cluster/MemberRemove", "/cluster/member/remove"],
  ["Cluster/MemberUpdate", "/cluster/member/update"],
  ["Cluster/MemberPromote", "/cluster/member/promote"],
  ["Maintenance/MoveLeader", "/maintenance/transfer-leadership"],
  ["Maintenance/Downgrade", "/maintenance/downgrade"],
  ["Auth/AuthEnable", "/auth/enable"],
  ["Auth/AuthDisable", "/auth/disable"],
  ["Auth/UserAdd", "/auth/user/add"],
  ["Auth/UserDelete", "/auth/user/delete"],
  ["Auth/UserChangePassword", "/auth/user/changepw"],
  ["Auth/UserGrantRole", "/auth/user/grant"],
  ["Auth/UserRevokeRole", "/auth/user/revoke"],
  ["Auth/RoleAdd", "/auth/role/add"],
  ["Auth/RoleDelete", "/auth/role/delete"],
  ["Auth/RoleGrantPermission", "/auth/role/grant"],
  ["Auth/RoleRevokePermission", "/auth/role/revoke"],
] as const;

export const REFUSED_METHODS: readonly ServiceMethod[] = REFUSED.map(([rpc, path]) =>
  method(rpc, path, EmptyRequest, HeaderResponse),
);

export const SERVICE_METHODS: readonly ServiceMethod[] = [
  method("Cluster/MemberList", "/cluster/member/list", EmptyRequest, MemberListResponse),
  method("Maintenance/Status", "/maintenance/status", EmptyRequest, StatusResponse),
  method("Maintenance/Alarm", "/maintenance/alarm", AlarmRequest, AlarmResponse),
  method("Maintenance/Defragment", "/maintenance/defragment", EmptyRequest, HeaderResponse),
  method("Maintenance/Hash", "/maintenance/hash", EmptyRequest, HashKvResponse),
  method("Maintenance/HashKV", "/maintenance/hashkv", HashKvRequest, HashKvResponse),
  method("Auth/Authenticate", "/auth/authenticate", AuthenticateRequest, AuthenticateResponse),
  method("Auth/AuthStatus", "/auth/status", EmptyRequest, AuthStatusResponse),
  method("Auth/UserList", "/auth/user/list", EmptyRequest, AuthUserListResponse),
  method("Auth/UserGet", "/auth/user/get", AuthUserGetRequest, AuthUserGetResponse),
  method("Auth/RoleList", "/auth/role/list", EmptyRequest, AuthRoleListResponse),
  method("Auth/RoleGet", "/auth/role/get", AuthRoleGetRequest, AuthRoleGetResponse),
  ...LOCK_METHODS,
  ...REFUSED_METHODS,
];
