// Who asks through etcd's API: a token of Authenticate, an API key, or nobody.
// Guarantees: nobody is the tenant `default`, and only where the operator allows it (a loopback listener does by itself); what a browser's
// page or a proxy sent is never nobody. Must not: answer differently for unknown tenants, keys and secrets.
import { unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf, sha256Hex } from "../access/api-key.ts";
import { BoundedMap } from "../access/bounded-map.ts";
import { TENANT_ID_PATTERN } from "../access/limits.ts";
import type { Scope } from "../access/types.ts";
import { refusal } from "../etcd/errors.ts";
import {
  ANONYMOUS_TENANT,
  DEFAULT_NAMESPACE,
  type Identity,
  identityOf,
  parseToken,
  requireNearby,
} from "../etcd/identity.ts";
import { PublicError } from "../wire/error-codes.ts";
import { admit, authenticate, requireScope } from "./access.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";
import type { KeyspaceName } from "./config-call.ts";
import { writing } from "./errors.ts";
import { MAX_ETCD_IDENTITIES } from "./limits.ts";
import { newTenantOf } from "./tenants.ts";

export interface EtcdCaller {
  readonly principal: TenantPrincipal;
  readonly keyspace: KeyspaceName;
  readonly identity: Identity;
  readonly isAnonymous: boolean;
}

/** Of keyspaces: their hashes cost more than a request's parsing. */
const identities = new BoundedMap<string, Identity>(MAX_ETCD_IDENTITIES);

function identityIn({ tenant, namespace }: KeyspaceName): Identity {
  const name = `${tenant}/${namespace}`;
  const held = identities.get(name);
  if (held) return held;
  const identity = identityOf(tenant, namespace);
  identities.set(name, identity);
  return identity;
}

export function callerIn(principal: TenantPrincipal, namespace: string, isAnonymous = false): EtcdCaller {
  const keyspace = { tenant: principal.caller.tenant, namespace };
  return { principal, keyspace, identity: identityIn(keyspace), isAnonymous };
}

/** Throws EtcdError or PublicError. */
export async function etcdCaller(call: Call): Promise<EtcdCaller> {
  const header = call.request.headers.get("authorization");
  if (header === null) return anonymousCaller(call);
  const token = parseToken(header);
  if (!token || !isNamespace(token.namespace)) throw refusal("invalidToken");
  const principal = requireScope(await authenticate(call, token.apiKey), "read-only");
  return callerIn(principal, token.namespace);
}

export function isNamespace(name: string): boolean {
  return TENANT_ID_PATTERN.test(name);
}

/** Throws etcd's refusal. */
export function requireEtcdScope({ principal }: EtcdCaller, scope: Scope): void {
  try {
    requireScope(principal, scope);
  } catch {
    throw refusal("permissionDenied"); // requireScope throws nothing else
  }
}

async function anonymousCaller(call: Call): Promise<EtcdCaller> {
  const { settings, authenticator } = call.services;
  if (!settings.etcd.allowAnonymous) throw refusal("noCredentials");
  requireNearby((name) => call.request.headers.has(name));
  let principal = await authenticator.withoutKey(ANONYMOUS_TENANT);
  if (!principal) {
    await createAnonymousTenant(call);
    principal = await authenticator.withoutKey(ANONYMOUS_TENANT);
  }
  if (!principal) throw new PublicError("unavailable", "the tenant for requests without credentials is not there yet");
  await admit(call, principal);
  return callerIn(principal, DEFAULT_NAMESPACE, true);
}

/** Its first API key is shown to nobody; the root key makes others. */
async function createAnonymousTenant(call: Call): Promise<void> {
  const { services } = call;
  const input = await newTenantOf(call, { tenantId: ANONYMOUS_TENANT });
  const mutation = { writeId: services.random.bytes(16), bodyHash: await sha256Hex(JSON.stringify(input)) };
  try {
    unwrap(
      await writing(services.stubs.directory().createTenant(input, mutation), "Directory", {
        writeIdHex: hexOf(mutation.writeId),
      }),
    );
  } catch (error) {
    // Several first requests meet here.
    if (!(error instanceof PublicError) || error.code !== "alreadyExists") throw error;
  }
  await services.authenticator.forget(ANONYMOUS_TENANT);
}
