// How this instance's processes reach those of all zones: unix sockets, of the neighbours themselves on one machine, else of tunnels.
// Guarantees: a relay listens on a unix socket only; what comes from other machines has proved the cluster's key (tunnel.ts).
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Config } from "../config-schema.ts";
import { exitCodes, OperatorError } from "../problem.ts";
import {
  acceptPeers,
  type HostPort,
  type Offer,
  type PeerService,
  parseHostPort,
  peerKey,
  reachPeer,
  SILENCE_MS,
  type TunnelEnd,
} from "./tunnel.ts";

/** Of a unix socket's path, by the kernel. */
const MAX_SOCKET_PATH_BYTES = 107;

/** How long each service may let a caller wait without a word. Calls to leaders may wait for locks and changes. Ms. */
const SILENCES_MS: Readonly<Record<PeerService, number>> = { peer: SILENCE_MS, leaders: 60_000, gossip: 3000 };
const SERVICES = Object.keys(SILENCES_MS) as readonly PeerService[];

/** Where an instance on this machine offers a service, whose zone's process listens at `address`. */
function beside(address: string, service: PeerService): string {
  return service === "peer" ? address : address.replace(/(\.sock)?$/, `-${service}.sock`);
}

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
  readonly #options: WaysOptions;
  readonly #ends: TunnelEnd[] = [];
  readonly #addresses: Readonly<Record<PeerService, Readonly<Record<string, string>>>>;

  constructor(options: WaysOptions) {
    this.#options = options;
    const { cluster, dataDir } = options;
    const near = (zone: string): string => `unix:${join(dataDir, zone === cluster.zone ? "zone" : `to-${zone}`)}.sock`;
    const of = (service: PeerService): Record<string, string> => {
      const each = Object.entries(cluster.peers).map(([zone, address]) => {
        return [zone, beside(parseHostPort(address) ? near(zone) : address, service)] as const;
      });
      return Object.fromEntries(each);
    };
    this.#addresses = { peer: of("peer"), leaders: of("leaders"), gossip: of("gossip") };
    const own = [this.board, this.bulletin("zone"), this.bulletin("leaders")];
    const all = [...SERVICES.flatMap((service) => Object.values(this.#addresses[service])), ...own];
    for (const address of all) socketPath(address);
    mkdirSync(dirname(socketPath(this.own)), { recursive: true, mode: 0o700 });
  }

  /** Zone → `unix:` address of its process's relay, this one's included. */
  get addresses(): Readonly<Record<string, string>> {
    return this.#addresses.peer;
  }

  /** Zone → `unix:` address of its leaders' relay, this one's included. */
  get leaders(): Readonly<Record<string, string>> {
    return this.#addresses.leaders;
  }

  /** Zone → `unix:` address of its supervisor, this one's included. */
  get supervisors(): Readonly<Record<string, string>> {
    return this.#addresses.gossip;
  }

  get own(): string {
    return this.addresses[this.#options.cluster.zone]!;
  }

  /** Of the bucket's directory that the leaders' process offers. */
  get board(): string {
    return `unix:${join(this.#options.dataDir, "board.sock")}`;
  }

  /** Where a process is told by its supervisor what the cluster agreed on. */
  bulletin(role: "zone" | "leaders"): string {
    return `unix:${join(this.#options.dataDir, `tell-${role}.sock`)}`;
  }

  #offer(zone: string, service: PeerService): Offer {
    const path = socketPath(this.#addresses[service][zone]!);
    return { path, service, key: peerKey(this.#options.clusterKey, service) };
  }

  /** Opens the tunnels that are needed. @throws OperatorError when this instance cannot listen for its peers. */
  async open(): Promise<void> {
    const { cluster } = this.#options;
    for (const [zone, address] of Object.entries(cluster.peers)) {
      const at = parseHostPort(address);
      if (!at) continue;
      try {
        if (zone === cluster.zone) {
          const listen = parseHostPort(cluster.listen ?? address) ?? at;
          this.#ends.push(await acceptPeers(listen, ...SERVICES.map((service) => this.#offer(zone, service))));
        } else await this.#reach(zone, at);
      } catch (cause) {
        this.stop();
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new OperatorError(`cannot listen for the other instances at ${address}: ${why}`, { cause });
      }
    }
  }

  async #reach(zone: string, to: HostPort): Promise<void> {
    for (const service of SERVICES)
      this.#ends.push(await reachPeer(to, { ...this.#offer(zone, service), silenceMs: SILENCES_MS[service] }));
  }

  stop(): void {
    for (const end of this.#ends.splice(0)) end.stop();
  }
}
