// GET /v1/session: authenticates a WebSocket upgrade and hands it to the Coordinator, where the session ends.
// Guarantees: `jade-caller` is ours alone, a client's own is dropped; the API key goes no further than here.
import type { SessionBearer } from "../../objects/session-desk.ts";
import { type ErrorCode, PublicError } from "../wire/error-codes.ts";
import { authenticate, bearerToken, requireScope } from "./access.ts";
import type { Call } from "./call.ts";
import type { Route } from "./route.ts";

const SUBPROTOCOL = "jade.v1";
/** Browsers cannot set headers on a WebSocket: the key comes as base64url behind this. */
const BEARER_SUBPROTOCOL = "jade.bearer.";

function offeredProtocols(request: Request): string[] {
  const header = request.headers.get("sec-websocket-protocol");
  return header === null ? [] : header.split(",").map((name) => name.trim());
}

function protocolToken(protocols: readonly string[]): string | undefined {
  const carrier = protocols.find((name) => name.startsWith(BEARER_SUBPROTOCOL));
  if (carrier === undefined) return undefined;
  try {
    const base64 = carrier.slice(BEARER_SUBPROTOCOL.length).replaceAll("-", "+").replaceAll("_", "/");
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
  } catch {
    return undefined; // not base64: answered like any unknown key
  }
}

async function open(call: Call): Promise<Response> {
  const { request } = call;
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    throw new PublicError("upgradeRequired", "this path speaks WebSocket only");
  }
  const protocols = offeredProtocols(request);
  const principal = requireScope(
    await authenticate(call, bearerToken(request) ?? protocolToken(protocols)),
    "read-only",
  );
  const headers = new Headers({ upgrade: "websocket", "jade-caller": JSON.stringify(principal.caller) });
  // For the Coordinator to end the session when its credential does, and to keep its limits.
  const { credential, view } = principal;
  const key = credential.kind === "key" ? view.keys.find(({ keyId }) => keyId === credential.keyId) : undefined;
  const bearer: SessionBearer = {
    credential,
    tenantLimit: view.rateLimit ?? null,
    keyLimit: key?.rateLimit ?? null,
  };
  headers.set("jade-session", JSON.stringify(bearer));
  for (const name of ["sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"]) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  if (protocols.includes(SUBPROTOCOL)) headers.set("sec-websocket-protocol", SUBPROTOCOL);
  const response = await call.services.stubs.coordinator().fetch(new Request(request.url, { headers }));
  const refusal = response.headers.get("jade-refusal");
  if (refusal === null) return response;
  const { code, message } = JSON.parse(refusal) as { readonly code: ErrorCode; readonly message: string };
  throw new PublicError(code, message);
}

export const sessionRoute: Route = {
  method: "get",
  path: "/v1/session",
  summary: "Open a session: a WebSocket over which many requests travel at once (src/wire/session.ts)",
  access: "data",
  errors: ["upgradeRequired", "overloaded"],
  run: open,
};
