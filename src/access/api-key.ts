// The text of an API key: `jdb.<tenantId>.<keyId>.<secret>`, secret = base64url of 32 bytes.
// Guarantees: format and parse are inverse; hashes are SHA-256 of the whole text; a derived key follows from a secret and the
// write id alone, so an answer can be given again without the key being stored. Must not: keep or log a key. Pure.
import { KEY_ID_PATTERN, TENANT_ID_PATTERN } from "./limits.ts";

const KEY_TEXT = /^jdb\.([^.]+)\.([^.]+)\.([A-Za-z0-9_-]{43})$/;
const encoder = new TextEncoder();
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export interface ParsedKey {
  readonly tenantId: string;
  readonly keyId: string;
}

export interface DerivedKey extends ParsedKey {
  /** The whole text; shown once, never stored. */
  readonly text: string;
  /** Hex SHA-256 of `text`. */
  readonly hash: string;
}

export function hexOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

export function base64UrlOf(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

export function parseApiKey(text: string): ParsedKey | undefined {
  const match = KEY_TEXT.exec(text);
  const [, tenantId = "", keyId = ""] = match ?? [];
  return TENANT_ID_PATTERN.test(tenantId) && KEY_ID_PATTERN.test(keyId) ? { tenantId, keyId } : undefined;
}

export async function sha256(data: Uint8Array | string): Promise<Uint8Array> {
  const bytes = typeof data === "string" ? encoder.encode(data) : data;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

export async function sha256Hex(data: Uint8Array | string): Promise<string> {
  return hexOf(await sha256(data));
}

/** Equal in a time that does not depend on where they differ. Both are hashes in hex. */
export function sameHash(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

async function hmac(secret: Uint8Array, label: string, data: Uint8Array): Promise<Uint8Array> {
  const key = await crypto.subtle.importKey(
    "raw",
    secret as Uint8Array<ArrayBuffer>,
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  const prefix = encoder.encode(`${label}\0`);
  const input = new Uint8Array(prefix.length + data.length);
  input.set(prefix);
  input.set(data, prefix.length);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, input));
}

/** The key that the write `writeId` makes. `sealingSecret` never leaves its object. */
export async function deriveApiKey(
  sealingSecret: Uint8Array,
  tenantId: string,
  writeId: Uint8Array,
): Promise<DerivedKey> {
  const keyId = hexOf((await hmac(sealingSecret, `key-id\0${tenantId}`, writeId)).subarray(0, 8));
  const secret = base64UrlOf(await hmac(sealingSecret, `key-secret\0${tenantId}`, writeId));
  const text = `jdb.${tenantId}.${keyId}.${secret}`;
  return { tenantId, keyId, text, hash: await sha256Hex(text) };
}

/** 32 bytes: the secret of the webhook that the write `writeId` makes, or gives a new one. */
export function deriveWebhookSecret(sealingSecret: Uint8Array, writeId: Uint8Array): Promise<Uint8Array> {
  return hmac(sealingSecret, "webhook-secret", writeId);
}

/** The secret a tenant's own object seals its answers with. */
export function deriveTenantSecret(deploymentSecret: Uint8Array, tenant: number): Promise<Uint8Array> {
  return hmac(deploymentSecret, "tenant-secret", encoder.encode(String(tenant)));
}

/** What a write id is remembered under: the id itself, from which a key could be derived, is not stored. */
export async function recordIdOf(writeId: Uint8Array): Promise<string> {
  return hexOf((await hmac(encoder.encode("jade-record"), "record", writeId)).subarray(0, 16));
}
