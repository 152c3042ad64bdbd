// The way between the relays of instances on different machines: TLS whose pre-shared key follows from the cluster's key. Who does not
// know that key is refused before a byte reaches a relay, and reads nothing.
// Guarantees: a relay's socket itself stays a unix socket; forward secrecy (ECDHE); a connection whose other end has gone silent is ended, so
// that the next call makes a new one. Must not: look at what passes, or retry it.
import { createHmac } from "node:crypto";
import { rmSync } from "node:fs";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";
import { connect, createServer as createTlsServer, type TLSSocket } from "node:tls";

/** What a peer is reached for; each has a key of its own. `peer` = the relay of its zone's process. */
export type PeerService = "peer" | "leaders" | "gossip";

const identityOf = (service: PeerService): string => `jade-db ${service} 1`;
/** TLS 1.3 of Node knows no such keys. */
const TLS = {
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
} as const;
const CONNECT_TIMEOUT_MS = 5000;
const KEEP_ALIVE_MS = 5000;
/** Something was sent and nothing has come since. Calls between zones are answered within seconds. */
export const SILENCE_MS = 15_000;

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, IPv6 in brackets; undefined = it is neither. */
export function parseHostPort(text: string): HostPort | undefined {
  const [, host, port] = /^(\[[0-9a-f:.]+\]|[^:/\s]+):(\d{1,5})$/i.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) return undefined;
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
}

/** Not the cluster's key itself: workerd uses that for something else. */
export function peerKey(clusterKey: string, service: PeerService = "peer"): Buffer {
  return createHmac("sha256", clusterKey).update(identityOf(service)).digest();
}

/** Passes everything between the two until either ends, then ends both. */
function join(near: Socket, far: Socket): void {
  const end = (): void => {
    near.destroy();
    far.destroy();
  };
  for (const socket of [near, far]) socket.on("error", end).on("close", end).setNoDelay(true);
  near.pipe(far);
  far.pipe(near);
}

/** Ends `far` when something was sent to it and nothing has come from it for so long. */
function endWhenSilent(near: Socket, far: Socket, silenceMs: number): void {
  let timer: NodeJS.Timeout | undefined;
  near.on("data", () => {
    timer ??= setTimeout(() => far.destroy(), silenceMs);
  });
  const heard = (): void => {
    clearTimeout(timer);
    timer = undefined;
  };
  far.on("data", heard).on("close", heard);
}

function listening(server: Server, at: HostPort | { readonly path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at, resolve);
  });
}

/** One end of tunnels; `stop` ends them. */
export interface TunnelEnd {
  /** Of a listener on a port. */
  readonly port: number;
  stop(): void;
}

function endOf(server: Server): TunnelEnd {
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  const stop = (): void => {
    server.close();
    for (const socket of open) socket.destroy();
  };
  return {
    get port() {
      const address = server.address();
      return typeof address === "object" ? ((address as AddressInfo | null)?.port ?? 0) : 0;
    },
    stop,
  };
}

/** A server on a unix socket that peers may reach, or one of theirs. */
export interface Offer {
  readonly path: string;
  readonly key: Buffer;
  readonly service?: PeerService;
}

/** Takes peers' connections at `at` and passes each on to what it came for. */
export async function acceptPeers(at: HostPort, ...offers: readonly Offer[]): Promise<TunnelEnd> {
  const byIdentity = new Map(offers.map((offer) => [identityOf(offer.service ?? "peer"), offer]));
  const wanted = new WeakMap<TLSSocket, Offer>();
  const server = createTlsServer({
    ...TLS,
    pskCallback: (socket, identity) => {
      const offer = byIdentity.get(identity);
      if (offer) wanted.set(socket, offer);
      return offer?.key ?? null;
    },
  });
  server.on("secureConnection", (peer: TLSSocket) => {
    peer.setKeepAlive(true, KEEP_ALIVE_MS);
    join(createConnection({ path: wanted.get(peer)!.path }), peer);
  });
  // Who does not know the key: nothing has passed.
  server.on("tlsClientError", () => undefined);
  const end = endOf(server);
  await listening(server, at);
  return end;
}

/** Offers a service of the peer at `to` as a unix socket at `path`. */
export async function reachPeer(
  to: HostPort,
  { path, key, service = "peer", silenceMs = SILENCE_MS }: Offer & { readonly silenceMs?: number },
): Promise<TunnelEnd> {
  const server = createServer((near) => {
    const far = connect({
      ...TLS,
      ...to,
      timeout: CONNECT_TIMEOUT_MS,
      pskCallback: () => ({ psk: key, identity: identityOf(service) }),
      // The key is the proof; there is no certificate with a name.
      checkServerIdentity: () => undefined,
    });
    far.once("timeout", () => far.destroy());
    far.once("secureConnect", () => {
      far.setTimeout(0);
      far.setKeepAlive(true, KEEP_ALIVE_MS);
    });
    endWhenSilent(near, far, silenceMs);
    join(near, far);
  });
  rmSync(path, { force: true });
  const end = endOf(server);
  await listening(server, { path });
  return end;
}
