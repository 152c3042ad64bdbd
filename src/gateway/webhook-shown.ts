// A subscription and its dead letters as /v1/webhooks answers them. Must not: show a secret but the one that was just made.
import type { NumberedDeadLetter, WebhookInfo } from "../../objects/webhook-rpc.ts";
import type { BinaryKey, KeyRange } from "../wire/config.ts";
import { keyOfText, NO_END, prefixEnd, textOfKey } from "../wire/config-keys.ts";

const iso = (ms: number): string => new Date(ms).toISOString();

/** As given: a key, a prefix, or start with end. */
function shownRange({ key, rangeEnd }: KeyRange): Record<string, string> {
  const from = key === "\0" ? "" : key;
  const isText = [from, rangeEnd].every((bound) => bound === NO_END || keyOfText(textOfKey(bound)) === bound);
  const text = (bound: BinaryKey): string => (isText ? textOfKey(bound) : btoa(bound));
  const encoding: Record<string, string> = isText ? {} : { keyEncoding: "base64" };
  if (rangeEnd === "") return { key: text(key), ...encoding };
  if (prefixEnd(from) === rangeEnd) {
    // The end of a prefix may be no text where the prefix is.
    const isPrefixText = keyOfText(textOfKey(from)) === from;
    return isPrefixText ? { prefix: textOfKey(from) } : { prefix: btoa(from), keyEncoding: "base64" };
  }
  const end: Record<string, string> = rangeEnd === NO_END ? {} : { end: text(rangeEnd) };
  return { start: text(from), ...end, ...encoding };
}

export function shownWebhook({ subscription, progress, createdAtMs, deadLetterCount, ...more }: WebhookInfo) {
  const { key, rangeEnd, ...rest } = subscription;
  const { state, reason, cursor, attempts, nextAttemptMs, lastError, lastDeliveredMs, compactedRevision } = progress;
  return {
    ...rest,
    ...shownRange({ key, rangeEnd }),
    state,
    ...(reason === null ? {} : { pauseReason: reason }),
    nextRevision: cursor.revision,
    attempts,
    ...(nextAttemptMs === 0 ? {} : { nextAttemptAt: iso(nextAttemptMs) }),
    ...(lastError === null ? {} : { lastError }),
    ...(lastDeliveredMs === 0 ? {} : { lastDeliveredAt: iso(lastDeliveredMs) }),
    ...(compactedRevision === 0 ? {} : { compactedRevision }),
    deadLetters: deadLetterCount,
    ...(more.oldSecretUntilMs === null ? {} : { oldSecretValidUntil: iso(more.oldSecretUntilMs) }),
    createdAt: iso(createdAtMs),
    ...(more.secret === undefined ? {} : { secret: more.secret }),
  };
}

export function shownDeadLetter({ number: _, firstAttemptMs, atMs, ...letter }: NumberedDeadLetter) {
  return { ...letter, firstAttemptAt: iso(firstAttemptMs), at: iso(atMs) };
}
