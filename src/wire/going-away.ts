// How a server that is about to be stopped says so to sessions and watches.

/** Of the WebSocket registry: service restart. Not 1001, with which a client would end what its session owns. */
export const CLOSE_GOING_AWAY = 1012;
/** When to come again: a moment, for another instance may be there already. Ms. */
const RETRY_AFTER_MS = 200;

export const GOING_AWAY_REASON = `goingAway: this server stops; retryAfterMs=${RETRY_AFTER_MS}`;

/** Undefined = the connection was not closed for that. */
export function retryAfterMs(code: number | undefined, reason: string): number | undefined {
  if (code !== CLOSE_GOING_AWAY) return undefined;
  const given = /\bretryAfterMs=([0-9]{1,5})\b/.exec(reason)?.[1];
  return given === undefined ? 0 : Number(given);
}
