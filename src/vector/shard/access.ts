// Who may do what with a database's vectors, beside what a key's scope allows: `accessControl` of its record, judged by its shards.
// Guarantees: a call that does not say whose it is may do nothing where there is a rule. Must not: know keys or tenants.
import {
  CALLER_SCOPES,
  type CallerScope,
  type VectorCall,
  type VectorFailure,
  type VectorRequest,
} from "../../wire/vector.ts";

/** What `defaultPermissions` may name. */
export const PERMISSIONS = ["read", "search", "write", "delete"] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** What `roles` may name, with the scope of the keys that have the role. */
export const ROLES = {
  admin: "admin",
  user: "read-write",
  auditor: "read-only",
  "read-write": "read-write",
  "read-only": "read-only",
} as const satisfies Readonly<Record<string, CallerScope>>;
export type Role = keyof typeof ROLES;

/** As a database's record has it. */
export interface AccessControl {
  /** Absent = all. */
  readonly roles?: readonly string[] | undefined;
  /** Of keys that are no admin's; absent = all that their scope allows. */
  readonly defaultPermissions?: readonly string[] | undefined;
}

/** As a shard knows it. */
export interface AccessRules {
  readonly scopes: readonly CallerScope[];
  readonly permissions: readonly Permission[];
}

/** One of these is enough. */
const NEEDED = {
  ...({ get: ["read"], list: ["read"], count: ["read"], status: ["read"] } as const),
  ...({ search: ["search"], within: ["search"] } as const),
  ...({ upsert: ["write"], update: ["write"], delete: ["delete"], deleteWhere: ["delete"] } as const),
  ...({ importStage: ["write"], importStart: ["write"], importCancel: ["write"], imports: ["read", "write"] } as const),
} as const satisfies Readonly<Record<VectorRequest["kind"], readonly Permission[]>>;

/** Undefined = there is no rule beside the scopes. */
export function accessRulesOf(control: AccessControl | null): AccessRules | undefined {
  const { roles, defaultPermissions } = control ?? {};
  if (!roles && !defaultPermissions) return undefined;
  const named: readonly (CallerScope | undefined)[] | undefined = roles?.map((role) =>
    Object.hasOwn(ROLES, role) ? ROLES[role as Role] : undefined,
  );
  return {
    scopes: CALLER_SCOPES.filter((scope) => !named || named.includes(scope)),
    permissions: PERMISSIONS.filter((permission) => !defaultPermissions || defaultPermissions.includes(permission)),
  };
}

/** Why a bearer of this scope may not do it. `needed`: one of these is enough. */
export function refusedBy(
  { scopes, permissions }: AccessRules,
  scope: CallerScope | undefined,
  needed: readonly Permission[],
): VectorFailure | undefined {
  const refuse = (message: string, details: object): VectorFailure => ({
    ...({ kind: "error", code: "forbidden" } as const),
    message,
    details: { field: "accessControl", ...details },
  });
  if (scope === undefined || !scopes.includes(scope)) {
    const allowed = scopes.length === 0 ? "no keys" : `keys of scope ${scopes.join(", ")}`;
    const message = `the database's accessControl.roles lets ${allowed} in; this one is ${scope ?? "of none"}`;
    return refuse(message, { requiredScope: scopes.at(-1) ?? "none", scopes });
  }
  if (scope === "admin" || needed.some((each) => permissions.includes(each))) return undefined;
  const message = `the database's accessControl.defaultPermissions does not let a ${scope} key ${needed.join(" or ")}`;
  return refuse(message, { requiredScope: "admin", permission: needed[0], permissions });
}

/** A call to a shard; what comes from another shard was judged there. */
export function refusedCall(
  { isPlaced, scope, request }: VectorCall,
  access: AccessRules | undefined,
): VectorFailure | undefined {
  return !access || isPlaced ? undefined : refusedBy(access, scope, NEEDED[request.kind]);
}
