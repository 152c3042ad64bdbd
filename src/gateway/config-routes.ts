// The routes of the configuration store.
import { configAdminRoutes } from "./config-admin.ts";
import { configExportRoute } from "./config-export.ts";
import { configImportRoute } from "./config-import.ts";
import { configKeyRoutes } from "./config-keys.ts";
import { configLeaseRoutes } from "./config-leases.ts";
import { configLockRoutes } from "./config-locks.ts";
import { configRangeRoutes } from "./config-range.ts";
import { configSnapshotRoutes } from "./config-snapshot.ts";
import { configTxnRoute } from "./config-txn.ts";
import type { Route } from "./route.ts";
import { webhookRoutes } from "./webhooks.ts";

export const configRoutes: readonly Route[] = [
  ...configKeyRoutes,
  ...configRangeRoutes,
  configTxnRoute,
  configExportRoute,
  configImportRoute,
  ...configSnapshotRoutes,
  ...configLeaseRoutes,
  ...configLockRoutes,
  ...configAdminRoutes,
  ...webhookRoutes,
];
