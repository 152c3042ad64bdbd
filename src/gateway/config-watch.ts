// Watches of a configuration keyspace over WebSocket: the upgrade is handed to the keyspace, which ends it. Also the way for faces of our
// own (server-sent events, /v3/watch): `openConfigWatch` gives them a connection to the keyspace.
// Guarantees: `jade-watch` is ours alone. Must not: hold watches.
import type { WatchBearer } from "../../objects/watch-desk.ts";
import { WATCH_SUBPROTOCOL, type WatchOptions } from "../wire/config-watch.ts";
import { type TakenMessage, WatchStream } from "../wire/config-watch-stream.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";
import type { KeyspaceName } from "./config-call.ts";
import { admittedUpgrade, bearerOf, handedOn } from "./upgrade.ts";

interface Opening {
  readonly encoding: WatchBearer["encoding"];
  /** The watch to begin with, under id 0. */
  readonly create?: WatchOptions | undefined;
  /** Where the zone's copies are to serve, it may be one of those. */
  readonly mayBeCopy?: boolean;
}

/** The keyspace's answer to the upgrade, with its WebSocket: for the client, or to be accepted here. */
export async function upgradeConfigWatch(
  call: Call,
  principal: TenantPrincipal,
  keyspace: KeyspaceName,
  { encoding, create, mayBeCopy = false }: Opening,
): Promise<Response> {
  const { caller, credential } = bearerOf(principal);
  const bearer: WatchBearer = { caller: { tenant: caller.tenant }, credential, encoding, create };
  const handed = (): Request =>
    handedOn(call.request, {
      "jade-watch": encodeURIComponent(JSON.stringify(bearer)),
      ...(encoding === "binary" ? { "sec-websocket-protocol": WATCH_SUBPROTOCOL } : {}),
    });
  const copy = mayBeCopy ? await upgradeByCopy(call, keyspace, handed()) : undefined;
  if (copy) return copy;
  const { tenant, namespace } = keyspace;
  return admittedUpgrade(await call.services.stubs.configKeyspace(tenant, namespace).fetch(handed()));
}

/** Undefined: the owner is to be asked. */
async function upgradeByCopy(
  { services, requestId, route }: Call,
  { tenant, namespace }: KeyspaceName,
  handed: Request,
): Promise<Response | undefined> {
  if (!services.settings.config.serveFromFollowers) return undefined;
  try {
    const response = await services.stubs.configFollower(tenant, namespace).fetch(handed);
    return response.status === 101 ? response : undefined;
  } catch (error) {
    services.log.warn("follower call failed", { requestId, route }, error);
    return undefined;
  }
}

export interface ConfigWatch {
  readonly stream: WatchStream;
  close(): void;
}

export interface ConfigWatchOptions {
  /** As of {@link WatchStream}: a promise holds up the keyspace. It must not reject. */
  readonly onMessage: (message: TakenMessage) => void | Promise<void>;
  /** The connection is gone: 1008 = the credential ended; others may try again from the last revision. Not after `close`. */
  readonly onClose: (code: number, reason: string) => void;
  readonly mayBeCopy?: boolean;
}

/** A watch connection that ends in this Worker. Throws PublicErrors. */
export async function openConfigWatch(
  call: Call,
  principal: TenantPrincipal,
  keyspace: KeyspaceName,
  { onMessage, onClose, mayBeCopy = false }: ConfigWatchOptions,
): Promise<ConfigWatch> {
  const opening = { encoding: "binary", mayBeCopy } as const;
  const { webSocket: socket } = await upgradeConfigWatch(call, principal, keyspace, opening);
  if (!socket) throw new PublicError("unavailable", "the keyspace did not answer");
  socket.binaryType = "arraybuffer";
  socket.accept();
  const stream = new WatchStream({ send: (frame) => socket.send(frame), onMessage });
  let isOpen = true;
  const end = (code: number, reason: string): void => {
    if (!isOpen) return;
    isOpen = false;
    onClose(code, reason);
  };
  socket.addEventListener("message", ({ data }) => {
    if (isOpen) stream.receive(new Uint8Array(data as ArrayBuffer));
  });
  socket.addEventListener("close", ({ code, reason }) => end(code, reason));
  socket.addEventListener("error", () => end(1006, "the connection broke"));
  const close = (): void => {
    isOpen = false;
    socket.close(1000);
  };
  return { stream, close };
}
