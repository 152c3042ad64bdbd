// The parts of workerd's configuration that make a process one of a cluster: the socket where the others call it, the ways to theirs,
// and for the leaders cluster mode itself. Pure text from its inputs.
// A relay's socket gives full access to its process: it is a unix socket in a directory that only our user enters.
import type { ClusterPlace } from "../../cluster/placement.ts";
import { capnpText } from "../capnp-text.ts";

export interface ClusterProcess {
  readonly place: ClusterPlace;
  /** Where the zone's process listens for clients together with other instances of its host. */
  readonly sharedAddress?: string | undefined;
  /** Where this process's relay listens. */
  readonly relayAddress: string;
  /** Zone → where the relay of its leaders listens, this instance's among them. */
  readonly leaders: Readonly<Record<string, string>>;
  /** Where this process listens for what its supervisor tells it. */
  readonly tellAddress: string;
  /** Where the supervisor answers. */
  readonly supervisorAddress: string;
  /** Zone → where its relay listens. */
  readonly peers: Readonly<Record<string, string>>;
  readonly bucket: string;
  /** Where the leaders' process offers the supervisor a directory of the bucket. */
  readonly boardAddress: string;
  /** `host:port` of the leaders' processes among themselves. */
  readonly address: string;
  readonly advertise?: string | undefined;
  /** Known to the cluster's members only. */
  readonly key: string;
}

/** As objects/reach.ts looks them up. */
export interface RelayService {
  readonly binding: string;
  readonly service: string;
  readonly text: string;
}

/** The host of the CONNECT request that begins a connection for calls: any name, the same on both ends. */
const CONNECT_HOST = "relay";
/** From SIGTERM to exit; the supervisor waits a little longer. Ms. */
export const LEADERS_STOP_MS = 8000;
/** It has nothing to hand over. Ms. */
const BOARD_STOP_MS = 300;

function relayService(binding: string, service: string, address: string): RelayService {
  const http = `http = (capnpConnectHost = ${capnpText(CONNECT_HOST)})`;
  const text = `(name = ${capnpText(service)}, external = (address = ${capnpText(address)}, ${http}))`;
  return { binding, service, text };
}

/** The ways from this process to those that it calls. */
export function relayServices({ place, peers, leaders }: ClusterProcess): readonly RelayService[] {
  const isZone = place.role === "zone";
  const others = place.zones.filter((zone) => zone !== place.zone);
  const zones = isZone ? others : place.zones;
  const neighbours = others.map((zone) => relayService(`LEADERS_${zone}`, `leaders-${zone}`, leaders[zone]!));
  return [
    ...(isZone ? [relayService("LEADERS", "leaders", leaders[place.zone]!), ...neighbours] : []),
    ...zones.map((zone) => relayService(`ZONE_${zone}`, `zone-${zone}`, peers[zone]!)),
  ];
}

export function relaySocket({ relayAddress }: ClusterProcess): string {
  const http = `http = (capnpConnectHost = ${capnpText(CONNECT_HOST)})`;
  const service = '(name = "jade", entrypoint = "Relay")';
  return `(name = "relay", address = ${capnpText(relayAddress)}, ${http}, service = ${service})`;
}

/** The supervisor, as the zone's process asks it. */
export function supervisorService({ supervisorAddress }: ClusterProcess): string {
  return `(name = "supervisor", external = (address = ${capnpText(supervisorAddress)}, http = ()))`;
}

/** What a supervisor tells comes from a directory that only our user enters; who is there may do everything. */
export function tellSocket({ tellAddress }: Pick<ClusterProcess, "tellAddress">): string {
  const service = '(name = "jade", entrypoint = "Bulletin")';
  return `(name = "tell", address = ${capnpText(tellAddress)}, http = (), service = ${service})`;
}

export function sharedSocket({ sharedAddress }: ClusterProcess): readonly string[] {
  if (sharedAddress === undefined) return [];
  return [`(name = "shared", address = ${capnpText(sharedAddress)}, http = (), service = "jade")`];
}

/** Files in the bucket by which supervisors tell each other whom they reach; outside of cluster mode's own. */
export function boardService(): string {
  return '(name = "board", bucket = (path = "peers"))';
}

export function boardSocket({ boardAddress }: Pick<ClusterProcess, "boardAddress">): string {
  return `(name = "board", address = ${capnpText(boardAddress)}, http = (), service = "board")`;
}

/** A process that only gives the board; its other services are the bucket's own. */
export function boardConfig({
  bucket,
  key,
  boardAddress,
}: Pick<ClusterProcess, "bucket" | "key" | "boardAddress">): string {
  const joined = `bucket = ${capnpText(bucket)}, address = "127.0.0.1:0", key = ${capnpText(key)}, stopTimeoutMs = ${BOARD_STOP_MS}`;
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [${boardService()}],
  sockets = [${boardSocket({ boardAddress })}],
  cluster = (${joined})
);
`;
}

/** Follows the sockets of `Config`; empty for a zone's process. The bucket's endpoint and credentials come by the environment. */
export function clusterSection({ place, bucket, address, advertise, key }: ClusterProcess): string {
  if (place.role === "zone") return "";
  const fields = [
    `bucket = ${capnpText(bucket)}`,
    `address = ${capnpText(address)}`,
    ...(advertise === undefined ? [] : [`advertise = ${capnpText(advertise)}`]),
    `key = ${capnpText(key)}`,
    `stopTimeoutMs = ${LEADERS_STOP_MS}`,
  ];
  return `,\n  cluster = (${fields.join(", ")})`;
}
