// Messages of etcd's Lock and Election services (v3lockpb, v3electionpb), by the published field numbers.
import { header, KeyValue } from "./messages.ts";
import { bytes, id, int64, key, type Message, message, nested } from "./schema.ts";

export const LockRequest = message("v3lockpb.LockRequest", { name: key(1), lease: id(2) });
export type LockRequest = Message<typeof LockRequest>;
export const LockResponse = message("v3lockpb.LockResponse", { header, key: key(2) });
export const UnlockRequest = message("v3lockpb.UnlockRequest", { key: key(1) });
export type UnlockRequest = Message<typeof UnlockRequest>;

export const LeaderKey = message("v3electionpb.LeaderKey", { name: key(1), key: key(2), rev: int64(3), lease: id(4) });
export type LeaderKey = Message<typeof LeaderKey>;
export const CampaignRequest = message("v3electionpb.CampaignRequest", { name: key(1), lease: id(2), value: bytes(3) });
export type CampaignRequest = Message<typeof CampaignRequest>;
export const CampaignResponse = message("v3electionpb.CampaignResponse", {
  header,
  leader: nested(2, () => LeaderKey),
});
export const ProclaimRequest = message("v3electionpb.ProclaimRequest", {
  leader: nested(1, () => LeaderKey),
  value: bytes(2),
});
export type ProclaimRequest = Message<typeof ProclaimRequest>;
export const LeaderRequest = message("v3electionpb.LeaderRequest", { name: key(1) });
export type LeaderRequest = Message<typeof LeaderRequest>;
export const LeaderResponse = message("v3electionpb.LeaderResponse", { header, kv: nested(2, () => KeyValue) });
export const ResignRequest = message("v3electionpb.ResignRequest", { leader: nested(1, () => LeaderKey) });
export type ResignRequest = Message<typeof ResignRequest>;
