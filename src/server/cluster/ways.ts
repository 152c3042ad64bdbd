// How this instance's processes reach the relays of all zones: unix sockets, of the neighbours themselves on one machine, else of tunnels.
// Guarantees: a relay listens on a unix socket only; what comes from other machines has proved the cluster's key (tunnel.ts).
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Config } from "../config-schema.ts";
import { exitCodes, OperatorError } from "../problem.ts";
import { acceptPeers, parseHostPort, peerKey, reachPeer, type TunnelEnd } from "./tunnel.ts";

/** Of a unix socket's path, by the kernel. */
const MAX_SOCKET_PATH_BYTES = 107;

/** @throws OperatorError when the kernel would not take it. */
export function socketPath(address: string): string {
  const path = address.slice("unix:".length);
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return path;
  const limit = `${bytes} bytes; the limit is ${MAX_SOCKET_PATH_BYTES}`;
  throw new OperatorError(`${path} is too long for a socket (${limit}): choose a shorter directory`, {
    exitCode: exitCodes.invalidConfiguration,
  });
}

export interface WaysOptions {
  readonly cluster: Config["cluster"];
  readonly dataDir: string;
  readonly clusterKey: string;
}

export class Ways {
  /** Zone → `unix:` address, this one's included. */
  readonly addresses: Readonly<Record<string, string>>;
  /** Of the relay of this instance's leaders. */
  readonly leaders: string;
  /** Of the bucket's directory that the leaders' process offers. */
  readonly board: string;
  readonly #options: WaysOptions;
  readonly #ends: TunnelEnd[] = [];

  constructor(options: WaysOptions) {
    this.#options = options;
    const { cluster, dataDir } = options;
    const near = (zone: string): string => join(dataDir, zone === cluster.zone ? "zone.sock" : `to-${zone}.sock`);
    const each = Object.entries(cluster.peers).map(([zone, address]) => {
      return [zone, parseHostPort(address) ? `unix:${near(zone)}` : address] as const;
    });
    this.addresses = Object.fromEntries(each);
    this.leaders = `unix:${join(dataDir, "leaders.sock")}`;
    this.board = `unix:${join(dataDir, "board.sock")}`;
    for (const address of [...Object.values(this.addresses), this.leaders, this.board]) socketPath(address);
    mkdirSync(dirname(socketPath(this.own)), { recursive: true, mode: 0o700 });
  }

  get own(): string {
    return this.addresses[this.#options.cluster.zone]!;
  }

  /** Opens the tunnels that are needed. @throws OperatorError when this instance cannot listen for its peers. */
  async open(): Promise<void> {
    const { cluster, clusterKey } = this.#options;
    const key = peerKey(clusterKey);
    for (const [zone, address] of Object.entries(cluster.peers)) {
      const at = parseHostPort(address);
      if (!at) continue;
      const path = socketPath(this.addresses[zone]!);
      try {
        this.#ends.push(
          zone === cluster.zone
            ? await acceptPeers(parseHostPort(cluster.listen ?? address) ?? at, { path, key })
            : await reachPeer(at, { path, key }),
        );
      } catch (cause) {
        this.stop();
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new OperatorError(`cannot listen for the other instances at ${address}: ${why}`, { cause });
      }
    }
  }

  stop(): void {
    for (const end of this.#ends.splice(0)) end.stop();
  }
}
