// The SDK's entry: everything a program that uses JadeDB may import. No runtime dependencies.
export { JadeClient } from "./client.ts";
export type {
  ClusterEvent,
  ClusterInstance,
  ClusterNode,
  ClusterStatus,
  GossipState,
  InstanceUse,
  ProcessState,
  ProcessUse,
} from "./cluster.ts";
export type { ClusterNodes, NewNode, NodeChangeBounds, NodeOperation } from "./cluster-nodes.ts";
export type { Config } from "./config.ts";
export type { ConfigCache } from "./config-cached.ts";
export type { ConfigLeases, KeptLease } from "./config-leases.ts";
export type { ElectOptions, HeldLock, Leader, Leadership, LockOptions } from "./config-locks.ts";
export type { ConfigRestoreOptions, ConfigRestoreResult, ConfigSnapshotInfo } from "./config-snapshot.ts";
export { inspectSnapshot } from "./config-snapshot.ts";
export type {
  ConfigExportOptions,
  ConfigExportPage,
  ConfigImportOptions,
  ConfigImportResult,
} from "./config-transfer.ts";
export {
  type CompareField,
  type CompareSign,
  type ConfigOperation,
  type ConfigOperationResult,
  type ConfigTxn,
  type ConfigTxnResult,
  configOp,
  type TxnParts,
} from "./config-txn.ts";
export type * from "./config-types.ts";
export type { ConfigWatch, ConfigWatchOptions } from "./config-watch.ts";
export type { ConfigChange, ConfigWatchEvent, ConfigWatchRange } from "./config-watch-events.ts";
export type * from "./config-webhooks.ts";
export type { DatabaseIndexes } from "./database-indexes.ts";
export type { Databases } from "./databases.ts";
export {
  type ClientErrorCode,
  isAccessDenied,
  isCompacted,
  isConflict,
  isJadeError,
  isLeaseNotFound,
  isLockNotAcquired,
  isNotFound,
  isPreconditionFailed,
  isUnavailable,
  isUnknownOutcome,
  JadeError,
  type JadeErrorCode,
  type JadeErrorOf,
} from "./errors.ts";
export type { KeyValue } from "./key-value.ts";
export type { ExportAllOptions, ExportedEntry, ExportOptions, ExportPage, SkippedData } from "./key-value-export.ts";
export type * from "./model-types.ts";
export type { Models } from "./models.ts";
export type { ClientOptions, FetchLike, SessionOptions, Transport, WebSocketLike } from "./options.ts";
export type { RepairInfo, RepairKind, Repairs } from "./repairs.ts";
export type { RetryPolicy } from "./retry.ts";
export type {
  CreatedKey,
  CreatedTenant,
  FactorChangeInfo,
  KeyInfo,
  KeyInput,
  MutationOptions,
  RateLimit,
  TenantChanges,
  TenantInfo,
  TenantInput,
  TenantKeys,
  TenantQuotas,
  Tenants,
  TenantUsage,
} from "./tenants.ts";
export type * from "./types.ts";
export { inspectVectorSnapshot, type RestoredDatabase, type VectorSnapshotInfo } from "./vector-snapshot.ts";
export type * from "./vector-types.ts";
export type { Vectors } from "./vectors.ts";
export { writeIdFrom } from "./write-id.ts";
