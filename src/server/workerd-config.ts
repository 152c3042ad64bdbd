// Writes workerd's configuration (Cap'n Proto text) for a single self-hosted node, or a process of a cluster's instance.
// Guarantees: pure text from its inputs; every string is escaped; object storage on local disk under stable names.
// Must not: hold a secret in clear (only the root key's hash, and a cluster's key, which workerd takes from nowhere else), or open anything
// but the one HTTP socket and a relay.

import type { Settings } from "../cluster/settings.ts";
import { isInNetwork, parseNetwork, REFUSED_NETWORKS, UNJUDGED_NETWORKS } from "../wire/networks.ts";
import {
  COMPATIBILITY_DATE,
  COMPATIBILITY_FLAGS,
  callSocket,
  embeds,
  externalService,
  list,
  textBinding,
  type WorkerModule,
} from "./capnp-parts.ts";
import { capnpText } from "./capnp-text.ts";
import {
  boardService,
  boardSocket,
  type ClusterProcess,
  clusterSection,
  relayServices,
  relaySocket,
  sharedSocket,
  supervisorService,
  tellSocket,
} from "./cluster/relay-config.ts";
import { MODELS_SOCKET } from "./models-config.ts";
import { classesOf, embedderClass, type ObjectClass } from "./object-classes.ts";

/** Where the embedder's modules lie beside the configuration. */
export const EMBEDDER_DIR = "embedder";
/** Of the leaders' process of a cluster's instance. */
export const EMBEDDER_SOCKET = "embedder.sock";
const EMBEDDER_ENTRY = '(name = "embedder", entrypoint = "EmbedderService")';

/** An issuer may stand in a private network. Only its URL, which the operator wrote, is ever asked for through this. */
const KEYS_NETWORK =
  '(name = "token-keys", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true)))';

/**
 * Receivers of webhooks and providers of models are named by tenants: the connection itself is refused to what is private, local or reserved, wherever a name
 * led. workerd takes the more specific of two networks that part, and a denial where they are equal.
 */
export function allowedNetwork(service: string, allowed: readonly string[]): string {
  const opened = allowed.map((text) => parseNetwork(text)!);
  const denied = [...REFUSED_NETWORKS, ...UNJUDGED_NETWORKS].filter((text) => {
    const { address, prefixLength } = parseNetwork(text)!;
    return !opened.some((network) => network.prefixLength <= prefixLength && isInNetwork(address, network));
  });
  const texts = (networks: readonly string[]): string => networks.map(capnpText).join(", ");
  const lists = `allow = [${texts(["public", ...allowed.map(withLength)])}], deny = [${texts(denied)}]`;
  return `(name = ${capnpText(service)}, network = (${lists}, tlsOptions = (trustBrowserCas = true)))`;
}

/** workerd knows networks only. */
function withLength(network: string): string {
  return network.includes("/") ? network : `${network}/${network.includes(":") ? 128 : 32}`;
}

export interface WorkerdConfigOptions {
  /** `host:port`, port 0 for a free one. */
  readonly address: string;
  /** Absolute. Holds one directory for each object class. */
  readonly objectsDir: string;
  /** Absolute. Where the blob store `disk` keeps its files. */
  readonly blobsDir: string;
  /** The first one is the entry. */
  readonly modules: readonly WorkerModule[];
  /** Of the embedder's Worker; they lie in EMBEDDER_DIR. A zone's process of a cluster asks that of the leaders. */
  readonly embedderModules?: readonly WorkerModule[] | undefined;
  readonly settings: Settings;
  /** Hex SHA-256. */
  readonly rootKeyHash: string;
  /** `root` = /metrics asks for the root key (JADE_METRICS_ACCESS). */
  readonly metricsAccess?: string | undefined;
  /** Of a single node: where its supervisor tells it that it is about to be stopped. */
  readonly tellAddress?: string | undefined;
  /** A process of a cluster's instance; none = the one process of a single node. */
  readonly cluster?: ClusterProcess | undefined;
}

function objectBinding({ binding, className }: ObjectClass): string {
  return `(name = ${capnpText(binding)}, durableObjectNamespace = ${capnpText(className)})`;
}

function objectNamespace({ className, uniqueKey, resident }: ObjectClass): string {
  const names = `className = ${capnpText(className)}, uniqueKey = ${capnpText(uniqueKey)}`;
  return `(${names}, enableSql = true, preventEviction = ${resident})`;
}

/** The Worker that keeps models and has them run: an isolate, bindings and objects of its own. */
function embedderWorker({ embedderModules, settings, cluster }: WorkerdConfigOptions): string {
  if (!embedderModules || cluster?.place.role === "zone") return "";
  const bindings = [
    textBinding("JADE_CONFIG", JSON.stringify(settings)),
    objectBinding(embedderClass),
    '(name = "MODEL_RUNNER", service = "models")',
    '(name = "EMBEDDING_NETWORK", service = "providers")',
    ...settings.embedding.secrets.map(
      ({ name }) => `(name = ${capnpText(name)}, fromEnvironment = ${capnpText(name)})`,
    ),
    ...(settings.storage.blobStore === "disk" ? ['(name = "BLOB_DISK", service = "blobs")'] : []),
  ];
  return `const embedder :Workerd.Worker = (
  modules = ${embeds(embedderModules, `${EMBEDDER_DIR}/`)},
  compatibilityDate = ${capnpText(COMPATIBILITY_DATE)},
  compatibilityFlags = ${list(COMPATIBILITY_FLAGS.map(capnpText))},
  bindings = ${list(bindings)},
  durableObjectNamespaces = ${list([objectNamespace(embedderClass)])},
  durableObjectStorage = (localDisk = "objects")
);
`;
}

/** A zone's process asks the embedder of its leaders', by the socket that they share a directory with. */
function embedderBinding(isZone: boolean): string {
  return `(name = "EMBEDDER", service = ${isZone ? '"embedder"' : EMBEDDER_ENTRY})`;
}

function embedderServices(isZone: boolean, allowedNetworks: readonly string[]): readonly string[] {
  if (isZone) return [externalService("embedder", EMBEDDER_SOCKET)];
  const network = allowedNetwork("providers", allowedNetworks);
  return ['(name = "embedder", worker = .embedder)', externalService("models", MODELS_SOCKET), network];
}

function embedderSocket(): string {
  return callSocket({ name: "embedder", socket: EMBEDDER_SOCKET, service: EMBEDDER_ENTRY });
}

/** The text of the file `workerd serve` reads; its constant is named `config`. */
export function workerdConfig(options: WorkerdConfigOptions): string {
  const { address, objectsDir, blobsDir, modules, settings, rootKeyHash, metricsAccess, cluster } = options;
  const objectClasses = classesOf(cluster?.place.role);
  const isGateway = cluster?.place.role !== "leaders";
  const isZone = cluster?.place.role === "zone";
  const relays = cluster ? relayServices(cluster) : [];
  const hasEmbedder = options.embedderModules !== undefined;
  const onDisk = settings.storage.blobStore === "disk" || settings.vectors.archiveStore === "disk";
  const fetchesKeys = settings.auth.tokenIssuers.some(({ jwksUrl }) => jwksUrl !== undefined);
  const bindings = [
    textBinding("JADE_MODE", cluster ? "cluster" : "single"),
    ...(cluster ? [textBinding("JADE_CLUSTER", JSON.stringify(cluster.place))] : []),
    ...relays.map(({ binding, service }) => `(name = ${capnpText(binding)}, service = ${capnpText(service)})`),
    ...(cluster && isGateway ? ['(name = "SUPERVISOR", service = "supervisor")'] : []),
    textBinding("JADE_CONFIG", JSON.stringify(settings)),
    textBinding("JADE_ROOT_KEY_HASH", rootKeyHash),
    ...objectClasses.map(objectBinding),
    ...(onDisk ? ['(name = "BLOB_DISK", service = "blobs")'] : []),
    ...(fetchesKeys ? ['(name = "TOKEN_KEYS", service = "token-keys")'] : []),
    '(name = "WEBHOOK_NETWORK", service = "webhooks")',
    ...(hasEmbedder ? [embedderBinding(isZone)] : []),
    ...(metricsAccess ? [textBinding("JADE_METRICS_ACCESS", metricsAccess)] : []),
  ];
  const services = [
    '(name = "jade", worker = .jade)',
    ...(hasEmbedder ? embedderServices(isZone, settings.embedding.allowedNetworks) : []),
    `(name = "objects", disk = (path = ${capnpText(objectsDir)}, writable = true))`,
    ...(onDisk ? [`(name = "blobs", disk = (path = ${capnpText(blobsDir)}, writable = true))`] : []),
    ...(fetchesKeys ? [KEYS_NETWORK] : []),
    allowedNetwork("webhooks", settings.webhooks.allowedNetworks),
    ...relays.map(({ text }) => text),
    ...(cluster && !isGateway ? [boardService()] : []),
    ...(cluster && isGateway ? [supervisorService(cluster)] : []),
  ];
  const sockets = [
    ...(isGateway ? [`(name = "http", address = ${capnpText(address)}, http = (), service = "jade")`] : []),
    ...(cluster ? [...sharedSocket(cluster), relaySocket(cluster), tellSocket(cluster)] : []),
    ...(!cluster && options.tellAddress !== undefined ? [tellSocket({ tellAddress: options.tellAddress })] : []),
    ...(cluster && !isGateway ? [boardSocket(cluster), ...(hasEmbedder ? [embedderSocket()] : [])] : []),
  ];
  return `# Written by jade-db at each start: changes here are lost.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = ${list(services)},
  sockets = ${list(sockets)}${cluster ? clusterSection(cluster) : ""}
);

const jade :Workerd.Worker = (
  modules = ${embeds(modules)},
  compatibilityDate = ${capnpText(COMPATIBILITY_DATE)},
  compatibilityFlags = ${list(COMPATIBILITY_FLAGS.map(capnpText))},
  bindings = ${list(bindings)},
  durableObjectNamespaces = ${list(objectClasses.map(objectNamespace))},
  durableObjectStorage = (localDisk = "objects")
);

${embedderWorker(options)}`;
}
