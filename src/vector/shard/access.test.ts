import { expect, it } from "vitest";
import { CALLER_SCOPES, type VectorRequest } from "../../wire/vector.ts";
import { type AccessControl, accessRulesOf, refusedCall } from "./access.ts";

const NONE = new Uint8Array(0);
const shown = {};
const REQUESTS: readonly VectorRequest[] = [
  { kind: "get", ids: [], shown },
  { kind: "list", cursor: NONE, limit: 1, shown },
  { kind: "count" },
  { kind: "status" },
  { kind: "search", queries: [], k: 1, index: "", shown },
  { kind: "within", query: NONE, threshold: 1, limit: 1, shown },
  { kind: "upsert", rows: [] },
  { kind: "update", id: "" },
  { kind: "importStage", job: "", bodyHash: "", part: 0, rows: [], refused: [] },
  { kind: "importStart", job: "", parts: 1 },
  { kind: "importCancel", job: "" },
  { kind: "imports" },
  { kind: "delete", ids: [] },
  { kind: "deleteWhere", filter: "{}", limit: 1 },
];

function allowed(control: AccessControl | null, scope?: (typeof CALLER_SCOPES)[number]): readonly string[] {
  const rules = accessRulesOf(control);
  return REQUESTS.filter((request) => !refusedCall({ scope, request }, rules)).map(({ kind }) => kind);
}

const ALL = REQUESTS.map(({ kind }) => kind);

it("[VE-290] what keys that are no admin's may do is what defaultPermissions names; each request needs its own", () => {
  const READ = ["get", "list", "count", "status"];
  const WRITE = ["upsert", "update", "importStage", "importStart", "importCancel"];
  expect(allowed({ defaultPermissions: ["read"] }, "read-write")).toEqual([...READ, "imports"]);
  expect(allowed({ defaultPermissions: ["search"] }, "read-only")).toEqual(["search", "within"]);
  expect(allowed({ defaultPermissions: ["write"] }, "read-write")).toEqual([...WRITE, "imports"]);
  expect(allowed({ defaultPermissions: ["delete"] }, "read-write")).toEqual(["delete", "deleteWhere"]);
  expect(allowed({ defaultPermissions: [] }, "read-write")).toEqual([]);
  for (const defaultPermissions of [[], ["search"]]) expect(allowed({ defaultPermissions }, "admin")).toEqual(ALL);
  for (const control of [null, {}]) for (const scope of CALLER_SCOPES) expect(allowed(control, scope)).toEqual(ALL);
});

it("[VE-291] only keys whose role is named reach the vectors; a call of nobody's does not; one from another shard was judged there", () => {
  expect(allowed({ roles: ["user", "read-only"] }, "admin")).toEqual([]);
  expect(allowed({ roles: ["user"] }, "read-write")).toEqual(ALL);
  expect(allowed({ roles: ["user", "auditor"] }, "read-only")).toEqual(ALL);
  expect(allowed({ roles: ["admin"] }, "read-only")).toEqual([]);
  expect(allowed({ roles: ["toString", "nobody"] }, "admin")).toEqual([]);
  expect(allowed({ roles: ["admin", "user", "auditor"] })).toEqual([]);
  const rules = accessRulesOf({ roles: ["admin"] });
  expect(refusedCall({ isPlaced: true, request: REQUESTS[0]! }, rules)).toBeUndefined();
  expect(refusedCall({ scope: "read-only", request: REQUESTS[0]! }, rules)).toMatchObject({
    code: "forbidden",
    details: { field: "accessControl", requiredScope: "admin" },
  });
});
