// How a connection's messages look as text: wire/config-watch-json.ts, one WebSocket message each.
// Guarantees: the events of a batch are written once, however many watches get them.
import { watchEventJson, watchEventsJson, watchMessageJson } from "../wire/config-watch-json.ts";
import type { Part } from "./watch-batch.ts";
import type { WatchEncoding } from "./watch-connection.ts";

const written = new WeakMap<Part, string>();

function eventsOf(part: Part): string {
  let text = written.get(part);
  if (text === undefined) {
    text = part.events.map(watchEventJson).join();
    written.set(part, text);
  }
  return text;
}

export const JSON_TEXT: WatchEncoding = {
  message: watchMessageJson,
  events: (part, watchIds) => watchIds.map((id) => watchEventsJson(part, id, eventsOf(part))),
};
