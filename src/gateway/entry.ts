// The Worker's fetch handler: one gateway an isolate, made at its first request (workerd allows no I/O or randomness earlier).
import type { Env } from "../../objects/env.ts";
import { reach } from "../../objects/reach.ts";
import { createGateway, type Gateway } from "./gateway.ts";

let held: { readonly env: Env; readonly gateway: Gateway } | undefined;

/** Every request of an isolate has the same bindings; another `env` object with other settings appears in tests only. */
function gatewayOf(env: Env): Gateway {
  if (held && (held.env === env || sameSettings(held.env, env))) return held.gateway;
  held = { env, gateway: createGateway(reach(env)) };
  return held.gateway;
}

function sameSettings(a: Env, b: Env): boolean {
  return (
    a.JADE_CONFIG === b.JADE_CONFIG &&
    a.JADE_ROOT_KEY === b.JADE_ROOT_KEY &&
    a.JADE_ROOT_KEY_HASH === b.JADE_ROOT_KEY_HASH
  );
}

export default {
  fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    return gatewayOf(env).handle(request, context);
  },
} satisfies ExportedHandler<Env>;
