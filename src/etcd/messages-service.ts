// Messages of etcd's Cluster, Maintenance and Auth services, by the published field numbers.
import { header } from "./messages.ts";
import { bool, bytes, choice, int64, key, list, type Message, message, nested, text, uid, uint32 } from "./schema.ts";

export const Member = message("etcdserverpb.Member", {
  id: uid(1, { name: "ID" }),
  name: text(2),
  peerUrls: list(text(3, { name: "peerURLs" })),
  clientUrls: list(text(4, { name: "clientURLs" })),
  isLearner: bool(5, { name: "isLearner" }),
});
export const MemberListResponse = message("etcdserverpb.MemberListResponse", {
  header,
  members: list(nested(2, () => Member)),
});

export const StatusResponse = message("etcdserverpb.StatusResponse", {
  header,
  version: text(2),
  dbSize: int64(3, { name: "dbSize" }),
  leader: uid(4),
  raftIndex: int64(5, { name: "raftIndex" }),
  raftTerm: int64(6, { name: "raftTerm" }),
  raftAppliedIndex: int64(7, { name: "raftAppliedIndex" }),
  errors: list(text(8)),
  dbSizeInUse: int64(9, { name: "dbSizeInUse" }),
  isLearner: bool(10, { name: "isLearner" }),
});

const alarmType = choice(3, { name: "etcdserverpb.AlarmType", values: ["NONE", "NOSPACE", "CORRUPT"] });
export const AlarmRequest = message("etcdserverpb.AlarmRequest", {
  action: choice(1, { name: "etcdserverpb.AlarmRequest_AlarmAction", values: ["GET", "ACTIVATE", "DEACTIVATE"] }),
  memberId: uid(2, { name: "memberID" }),
  alarm: alarmType,
});
export const AlarmMember = message("etcdserverpb.AlarmMember", {
  memberId: uid(1, { name: "memberID" }),
  alarm: { ...alarmType, number: 2 },
});
export const AlarmResponse = message("etcdserverpb.AlarmResponse", {
  header,
  alarms: list(nested(2, () => AlarmMember)),
});

export const HashKvRequest = message("etcdserverpb.HashKVRequest", { revision: int64(1) });
export type HashKvRequest = Message<typeof HashKvRequest>;
export const HashKvResponse = message("etcdserverpb.HashKVResponse", {
  header,
  hash: uint32(2),
  compactRevision: int64(3),
});

export const SnapshotResponse = message("etcdserverpb.SnapshotResponse", {
  header,
  remainingBytes: int64(2),
  blob: bytes(3),
});

export const AuthenticateRequest = message("etcdserverpb.AuthenticateRequest", { name: text(1), password: text(2) });
export type AuthenticateRequest = Message<typeof AuthenticateRequest>;
export const AuthenticateResponse = message("etcdserverpb.AuthenticateResponse", { header, token: text(2) });
export const AuthStatusResponse = message("etcdserverpb.AuthStatusResponse", {
  header,
  enabled: bool(2),
  authRevision: int64(3, { name: "authRevision" }),
});
export const AuthUserListResponse = message("etcdserverpb.AuthUserListResponse", { header, users: list(text(2)) });
export const AuthRoleListResponse = message("etcdserverpb.AuthRoleListResponse", { header, roles: list(text(2)) });
export const AuthUserGetRequest = message("etcdserverpb.AuthUserGetRequest", { name: text(1) });
export type AuthUserGetRequest = Message<typeof AuthUserGetRequest>;
export const AuthUserGetResponse = message("etcdserverpb.AuthUserGetResponse", { header, roles: list(text(2)) });
export const AuthRoleGetRequest = message("etcdserverpb.AuthRoleGetRequest", { role: text(1) });
export type AuthRoleGetRequest = Message<typeof AuthRoleGetRequest>;
export const Permission = message("authpb.Permission", {
  permType: {
    ...choice(1, { name: "authpb.Permission_Type", values: ["READ", "WRITE", "READWRITE"] }),
    name: "permType",
  },
  key: key(2),
  rangeEnd: key(3),
});
export const AuthRoleGetResponse = message("etcdserverpb.AuthRoleGetResponse", {
  header,
  perm: list(nested(2, () => Permission)),
});
