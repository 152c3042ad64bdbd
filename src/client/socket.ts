// Opens a WebSocket of the server with the client's key.
// Guarantees: the key is never part of the URL. Must not: listen or retry.
import type { ResolvedOptions, WebSocketConstructor, WebSocketLike } from "./options.ts";

const BEARER_SUBPROTOCOL_PREFIX = "jade.bearer.";

function base64Url(text: string): string {
  const binary = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Node's own WebSocket takes headers; elsewhere the key travels as a subprotocol, which no log of URLs shows. */
export function openSocket(options: ResolvedOptions, path: string, protocol: string): WebSocketLike {
  const Socket = options.WebSocket as WebSocketConstructor;
  const url = `${options.url.replace(/^http/, "ws")}${path}`;
  const versions = (globalThis as { process?: { versions?: Record<string, string> } }).process?.versions;
  const isNodesOwn =
    versions?.undici !== undefined && (Socket as unknown) === (globalThis as { WebSocket?: unknown }).WebSocket;
  if (isNodesOwn) {
    const headers = options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
    return new Socket(url, { headers, protocols: [protocol] } as never);
  }
  const protocols = [protocol];
  if (options.apiKey !== undefined) protocols.push(BEARER_SUBPROTOCOL_PREFIX + base64Url(options.apiKey));
  return new Socket(url, protocols as never);
}
