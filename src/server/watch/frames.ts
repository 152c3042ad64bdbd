// Messages of watches as WebSocket frames, ready to be written. Guarantees: a frame is made once, however many clients get it.
import type { Part } from "../../config/watch-batch.ts";
import { BINARY, type Frame, type WatchEncoding } from "../../config/watch-connection.ts";
import { JSON_TEXT } from "../../config/watch-text.ts";
import type { WatchId } from "../../wire/config-watch.ts";
import { messageFrame, OPCODE } from "./websocket.ts";

function framed(message: Frame): Buffer {
  return typeof message === "string"
    ? messageFrame(OPCODE.text, Buffer.from(message))
    : messageFrame(OPCODE.binary, message);
}

/** What goes out for one watch alone is the same for everybody who gave theirs the same id, which nearly all do. */
function inFrames(encoding: WatchEncoding): WatchEncoding {
  const made = new WeakMap<Part, Map<WatchId, readonly Buffer[]>>();
  return {
    message: (message) => framed(encoding.message(message)),
    events: (part, watchIds) => {
      const [only] = watchIds;
      if (watchIds.length !== 1) return encoding.events(part, watchIds).map(framed);
      let byId = made.get(part);
      if (!byId) {
        byId = new Map();
        made.set(part, byId);
      }
      let frames = byId.get(only!);
      if (!frames) {
        frames = encoding.events(part, watchIds).map(framed);
        byId.set(only!, frames);
      }
      return frames;
    },
  };
}

export const FRAMES = { binary: inFrames(BINARY), json: inFrames(JSON_TEXT) } as const;
