// Who an etcd client is told to speak with, and who it says it is: cluster and member ids, user names, tokens.
// Guarantees: ids are the same after a restart; a token names tenant, namespace and key, so no gateway has to remember it.
import type { AnswerHeader } from "../wire/config.ts";
import { GRPC, ownRefusal } from "./errors.ts";
import type { ResponseHeader } from "./messages.ts";

/** The release whose behaviour this face has. */
export const ETCD_VERSION = "3.4.23";
export const ANONYMOUS_TENANT = "default";
export const DEFAULT_NAMESPACE = "default";
const TOKEN = /^(?:bearer +)?([^\s/]+)(?:\/([^\s/]+))?$/i;

/** FNV-1a over 64 bits: ids only have to differ. */
function idOf(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < text.length; i++) hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(i))) * 0x100000001b3n);
  return String(hash);
}

/** Each keyspace counts its own revisions, so each is a cluster of its own to a client. */
export interface Identity {
  readonly clusterId: string;
  readonly memberId: string;
}

export function identityOf(tenant: number, namespace: string): Identity {
  return {
    clusterId: idOf(`jade cluster ${tenant}/${namespace}`),
    memberId: idOf(`jade member ${tenant}/${namespace}`),
  };
}

export function headerOf({ clusterId, memberId }: Identity, { revision, term }: AnswerHeader): ResponseHeader {
  return { clusterId, memberId, revision, raftTerm: term };
}

export interface UserName {
  readonly tenantId: string;
  readonly namespace: string;
}

/** `tenant` or `tenant/namespace`. */
export function parseUser(name: string): UserName {
  const at = name.indexOf("/");
  if (at < 0) return { tenantId: name, namespace: DEFAULT_NAMESPACE };
  return { tenantId: name.slice(0, at), namespace: name.slice(at + 1) };
}

/** What Authenticate gives, and `Authorization` or the gRPC metadata `token` brings back. */
export function tokenOf(apiKey: string, namespace: string): string {
  return namespace === DEFAULT_NAMESPACE ? apiKey : `${apiKey}/${namespace}`;
}

/** An API key as it is will do too, and `Bearer` before either. */
export function parseToken(text: string): { readonly apiKey: string; readonly namespace: string } | undefined {
  const match = TOKEN.exec(text);
  return match ? { apiKey: match[1]!, namespace: match[2] ?? DEFAULT_NAMESPACE } : undefined;
}

/** A page of any site can have its browser send `Origin` to a loopback address; the others are a proxy's, which stands in front of one. */
const FOREIGN_HEADERS = ["origin", "forwarded", "x-forwarded-for", "via"] as const;

/** Throws for a request without credentials that a page or a proxy sent. */
export function requireNearby(has: (header: string) => boolean): void {
  for (const name of FOREIGN_HEADERS) {
    if (!has(name)) continue;
    throw ownRefusal(GRPC.permissionDenied, `a request with ${name} comes from elsewhere and needs credentials`);
  }
}
