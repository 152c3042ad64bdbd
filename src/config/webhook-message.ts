// The request that tells a receiver of changes: its id and its body.
// Guarantees: the same events always give the same id and the same bytes, so that a receiver may know a repetition by either.
import type { BinaryKey } from "../wire/config.ts";
import { bytesOfKey, keyOfBytes } from "../wire/config-keys.ts";
import type { Cursor, WebhookEvent, WebhookSubscription } from "./webhook-types.ts";

export interface WebhookMessage {
  /** Of the request: that of its first event. */
  readonly id: string;
  readonly body: Uint8Array;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** (subscription, term, revision, index): never given to another event, not even after a restore. */
export function eventId(subscription: string, { term, revision, index }: Cursor & { readonly term: number }): string {
  return `${subscription}.${term}.${revision}.${index}`;
}

/** For people: base64 where it is no UTF-8. */
export function shownEventKey(key: BinaryKey): string {
  return textOf(bytesOfKey(key)) ?? btoa(key);
}

function keyPart(key: BinaryKey): string {
  const text = textOf(bytesOfKey(key));
  return text === undefined ? `"key":"${btoa(key)}","keyEncoding":"base64"` : `"key":${JSON.stringify(text)}`;
}

/** As /v1/config answers values: JSON as its exact text, else base64. */
function valuePart(value: Uint8Array): string {
  const text = textOf(value);
  if (text !== undefined) {
    try {
      JSON.parse(text);
      return `"value":${text}`;
    } catch {
      // Not JSON: as base64.
    }
  }
  return `"value":"${btoa(keyOfBytes(value))}","valueEncoding":"base64"`;
}

function eventText(subscription: string, event: WebhookEvent): string {
  const { type, key, revision, kv } = event;
  const head = `{"id":"${eventId(subscription, event)}","type":"${type}",${keyPart(key)},"revision":${revision}`;
  if (!kv) return `${head}}`;
  const { createRevision, version, lease, value } = kv;
  const leased = lease === "" ? "" : `,"leaseId":"${lease}"`;
  return `${head},"createRevision":${createRevision},"version":${version}${leased},${valuePart(value)}}`;
}

export function messageOf(
  { id, namespace }: Pick<WebhookSubscription, "id" | "namespace">,
  events: readonly WebhookEvent[],
): WebhookMessage {
  const list = events.map((event) => eventText(id, event)).join(",");
  const text = `{"type":"config.changed","data":{"subscription":"${id}","namespace":"${namespace}","events":[${list}]}}`;
  return { id: eventId(id, events[0]!), body: encoder.encode(text) };
}
