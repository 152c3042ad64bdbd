// Signatures by the Standard Webhooks scheme (standardwebhooks.com, specification 1.0): HMAC-SHA256 over "id.timestamp.body".
// Guarantees: one signature for each secret that is still valid, the newest first. Must not: log or answer a secret.
import { MAX_WEBHOOK_SECRET_BYTES, MIN_WEBHOOK_SECRET_BYTES } from "./limits.ts";

export type Hmac = (key: Uint8Array, message: Uint8Array) => Promise<Uint8Array>;

export interface WebhookSecret {
  /** `whsec_` and base64. */
  readonly text: string;
  /** Null = the present one. Ms. */
  readonly validUntilMs: number | null;
}

const PREFIX = "whsec_";
const encoder = new TextEncoder();

const base64Of = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));

export function secretText(bytes: Uint8Array): string {
  return PREFIX + base64Of(bytes);
}

/** The key's bytes; a text says what is wrong. */
export function parseSecret(text: string): Uint8Array | string {
  if (!text.startsWith(PREFIX)) return `must begin with ${PREFIX}`;
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.from(atob(text.slice(PREFIX.length)), (character) => character.charCodeAt(0));
  } catch {
    return `must be ${PREFIX} and base64`;
  }
  const isFit = bytes.length >= MIN_WEBHOOK_SECRET_BYTES && bytes.length <= MAX_WEBHOOK_SECRET_BYTES;
  return isFit
    ? bytes
    : `has ${bytes.length} bytes, the limits are ${MIN_WEBHOOK_SECRET_BYTES} and ${MAX_WEBHOOK_SECRET_BYTES}`;
}

export interface Signed {
  readonly id: string;
  readonly timestampSeconds: number;
  readonly body: Uint8Array;
}

/** The value of the header `webhook-signature`. */
export async function signatures(
  { id, timestampSeconds, body }: Signed,
  secrets: readonly WebhookSecret[],
  hmac: Hmac,
): Promise<string> {
  const head = encoder.encode(`${id}.${timestampSeconds}.`);
  const message = new Uint8Array(head.length + body.length);
  message.set(head);
  message.set(body, head.length);
  const nowMs = timestampSeconds * 1000;
  const valid = secrets.filter(({ validUntilMs }) => validUntilMs === null || validUntilMs > nowMs);
  const texts = valid.map(async ({ text }) => {
    const key = parseSecret(text);
    if (typeof key === "string") throw new Error("a stored secret is malformed");
    return `v1,${base64Of(await hmac(key, message))}`;
  });
  return (await Promise.all(texts)).join(" ");
}
