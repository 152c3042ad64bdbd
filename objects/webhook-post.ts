// One request to a receiver. Guarantees: bounded in time and in what is read; no redirect is followed; the address is judged where the
// connection is made (the network that workerd's configuration allows), and what can be seen of it before.
import { MAX_WEBHOOK_ANSWER_BYTES } from "../src/config/limits.ts";
import { type Outcome, outcomeOf } from "../src/config/webhook-delivery.ts";
import type { WebhookMessage } from "../src/config/webhook-message.ts";
import { type Hmac, signatures, type WebhookSecret } from "../src/config/webhook-signature.ts";
import type { WebhookTarget } from "../src/config/webhook-types.ts";
import { urlProblem } from "../src/config/webhook-url.ts";
import type { Network } from "../src/wire/networks.ts";

export interface PostOptions {
  readonly message: WebhookMessage;
  readonly target: WebhookTarget;
  readonly secrets: readonly WebhookSecret[];
  readonly allowed: readonly Network[];
  /** Undefined = the platform's own, which on Cloudflare reaches no private network. */
  readonly network: Fetcher | undefined;
}

const MAX_ERROR_CHARACTERS = 200;

export const hmacSha256: Hmac = async (key, message) => {
  const imported = await crypto.subtle.importKey("raw", key as BufferSource, { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, message as BufferSource));
};

export async function post({ message, target, secrets, allowed, network }: PostOptions): Promise<Outcome> {
  const { url, timeoutMs } = target;
  // The operator may have closed a network since.
  const problem = urlProblem(url, allowed);
  if (problem) return { kind: "failed", error: `the URL ${problem}` };
  const timestampSeconds = Math.floor(Date.now() / 1000);
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const headers = {
      "content-type": "application/json",
      "user-agent": "JadeDB-Webhooks",
      "webhook-id": message.id,
      "webhook-timestamp": String(timestampSeconds),
      "webhook-signature": await signatures({ ...message, timestampSeconds }, secrets, hmacSha256),
    };
    const init = { method: "POST", redirect: "manual", headers, body: message.body as BodyInit, signal } as const;
    const response = await (network ?? globalThis).fetch(url, init);
    await readSome(response);
    return outcomeOf(response.status, response.headers.get("retry-after"), Date.now());
  } catch (error) {
    return { kind: "failed", error: signal.aborted ? `no answer within ${timeoutMs} ms` : textOf(error) };
  }
}

/** So that the connection can be used again; the status is known, whatever comes of the rest. */
async function readSome({ body }: Response): Promise<void> {
  const reader = body?.getReader();
  if (!reader) return;
  try {
    for (let bytes = 0; bytes <= MAX_WEBHOOK_ANSWER_BYTES; ) {
      const { done, value } = await reader.read();
      if (done) return;
      bytes += (value as Uint8Array).length;
    }
    await reader.cancel();
  } catch {
    // Cut off or out of time.
  }
}

function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  // workerd keeps the cause to its own log: a name that leads nowhere, or the network's refusal of the address.
  if (text.startsWith("internal error")) return "no connection: the host is unknown, or its address is not allowed";
  return text.slice(0, MAX_ERROR_CHARACTERS).toWellFormed();
}
