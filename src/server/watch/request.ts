// What an upgrade asks for: whose it is, its protocol, and the watch to begin with. Must not: judge tokens.
import type { IncomingMessage } from "node:http";

/** Browsers cannot set headers on a WebSocket: the key comes as base64url behind this. */
const BEARER_SUBPROTOCOL = "jade.bearer.";
const BEARER = /^bearer +(\S+)$/i;
const FLAGS: ReadonlySet<string> = new Set(["prevKv", "noPut", "noDelete", "progressNotify", "fragment"]);

export function offeredProtocols({ headers }: IncomingMessage): readonly string[] {
  return headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
}

/** Undefined = there is none that could go into a header. */
export function tokenIn(request: IncomingMessage): string | undefined {
  const header = request.headers.authorization;
  const carrier = offeredProtocols(request).find((name) => name.startsWith(BEARER_SUBPROTOCOL));
  const token =
    header === undefined
      ? carrier && Buffer.from(carrier.slice(BEARER_SUBPROTOCOL.length), "base64url").toString()
      : BEARER.exec(header)?.[1];
  return token !== undefined && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}

/** The watch that an address names, as a request of wire/config-watch-json.ts; undefined = none. */
export function watchAsked(query: URLSearchParams): string | undefined {
  const fields: Record<string, unknown> = {};
  for (const [name, text] of query) {
    if (name === "namespace") continue;
    if (FLAGS.has(name)) fields[name] = text === "true";
    else if (name === "startRevision") fields[name] = /^[0-9]{1,16}$/.test(text) ? Number(text) : text;
    else if (name !== "keyEncoding" || text !== "utf8") fields[name] = text;
  }
  return Object.keys(fields).length === 0 ? undefined : JSON.stringify({ create: fields });
}
