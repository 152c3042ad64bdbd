// GET /v1/session: authenticates a WebSocket upgrade and hands it to the Coordinator, where the session ends.
// Guarantees: `jade-caller` is ours alone, a client's own is dropped; the API key goes no further than here.
import type { SessionBearer } from "../../objects/session-desk.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { Call } from "./call.ts";
import type { Route } from "./route.ts";
import { admittedUpgrade, authenticateUpgrade, bearerOf, handedOn, isUpgrade, offeredProtocols } from "./upgrade.ts";

const SUBPROTOCOL = "jade.v1";

async function open(call: Call): Promise<Response> {
  const { request } = call;
  if (!isUpgrade(request)) throw new PublicError("upgradeRequired", "this path speaks WebSocket only");
  const { caller, ...bearer } = bearerOf(await authenticateUpgrade(call));
  const handed = handedOn(request, {
    "jade-caller": JSON.stringify(caller),
    "jade-session": JSON.stringify(bearer satisfies SessionBearer),
    ...(offeredProtocols(request).includes(SUBPROTOCOL) ? { "sec-websocket-protocol": SUBPROTOCOL } : {}),
  });
  return admittedUpgrade(await call.services.stubs.coordinator().fetch(handed));
}

export const sessionRoute: Route = {
  method: "get",
  path: "/v1/session",
  summary: "Open a session: a WebSocket over which many requests travel at once (src/wire/session.ts)",
  access: "data",
  errors: ["upgradeRequired", "overloaded"],
  run: open,
};
