// What a configuration that fits its schema may still be refused for by `serve` on this machine: what would travel readable, files that do
// not fit, an environment that lacks something.
// Guarantees: each problem names its field or variable; no secret is shown. Must not: start or change anything.

import { isInNetwork, parseAddress, parseNetwork } from "../wire/networks.ts";
import { identityProblems } from "./cluster/identity.ts";
import { parseHostPort } from "./cluster/tunnel.ts";
import type { ConfigProblem } from "./config-problems.ts";
import type { Config } from "./config-schema.ts";
import { isLoopback } from "./port.ts";
import { BadCertificate, readCertificate } from "./tls/certificate.ts";

/** Of the leaders' port: what workerd takes beside names, wildcards and loopback. */
const PRIVATE_NETWORKS = [
  ...["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"],
  ...["127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128"],
].map((text) => parseNetwork(text)!);
const LEAST_NODE_TO_SHARE = 24;
const WILDCARDS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** What only the command line may allow. */
export interface Permissions {
  readonly insecurePublicHttp?: boolean | undefined;
  readonly newDeployment?: string | undefined;
  readonly forceNewDeployment?: boolean | undefined;
}

type Refuse = (field: string, value: unknown, message: string) => void;

/** Several processes on one port (SO_REUSEPORT). */
function judgeNode({ server: { sharedPort, watchFronts } }: Config, refuse: Refuse, version: string): void {
  if (Number.parseInt(version, 10) >= LEAST_NODE_TO_SHARE) return;
  const message = `needs Node ${LEAST_NODE_TO_SHARE} or newer, and this is ${version}: npm scripts and npx run the one that npm installed`;
  if (sharedPort !== undefined) refuse("server.sharedPort", sharedPort, message);
  if (watchFronts > 1) refuse("server.watchFronts", watchFronts, message);
}

function judgeListener({ server }: Config, flags: Permissions, refuse: Refuse): void {
  const { host, tlsCert, tlsKey } = server;
  if (!isLoopback(host) && tlsCert === undefined && flags.insecurePublicHttp !== true) {
    const message =
      "is not loopback, and without server.tlsCert the server speaks plain HTTP: keys would travel readable. Give --tls-cert and --tls-key, listen on 127.0.0.1 with a TLS proxy in front, or pass --insecure-public-http";
    refuse("server.host", host, message);
  }
  if (tlsCert === undefined && tlsKey !== undefined) refuse("server.tlsKey", tlsKey, "needs server.tlsCert");
  if (tlsCert === undefined) return;
  if (tlsKey === undefined) return refuse("server.tlsCert", tlsCert, "needs server.tlsKey");
  try {
    readCertificate({ certFile: tlsCert, keyFile: tlsKey });
  } catch (error) {
    if (!(error instanceof BadCertificate)) throw error;
    if (error.file === "cert") refuse("server.tlsCert", tlsCert, error.message);
    else refuse("server.tlsKey", tlsKey, error.message);
  }
}

function judgeStorage({ storage, vectors, cluster }: Config, refuse: Refuse): void {
  const stores = [
    ["storage.blobStore", storage.blobStore, "sqlite"],
    ["vectors.archiveStore", vectors.archiveStore, "none"],
  ] as const;
  for (const [field, store, other] of stores) {
    if (store === "r2") refuse(field, store, `exists on Cloudflare only: use ${other} or disk`);
    if (store === "disk" && cluster.bucket !== undefined)
      refuse(field, store, `is of one machine, and leaders move between machines: use ${other} in a cluster`);
  }
  for (const field of ["coldAfterHours", "hotMiB"] as const)
    if (vectors[field] > 0 && vectors.archiveStore === "none")
      refuse(`vectors.${field}`, vectors[field], "needs vectors.archiveStore");
}

/** A name, a wildcard or an address that workerd would take. */
function isPrivateHost(host: string): boolean {
  if (WILDCARDS.has(host) || !/^[\d.]+$|:/.test(host)) return true;
  const at = parseAddress(host);
  return at !== undefined && PRIVATE_NETWORKS.some((network) => isInNetwork(at, network));
}

function judgeCluster({ cluster, server }: Config, refuse: Refuse): void {
  const { bucket, peers, zone, listen, address, advertise, privateNetwork } = cluster;
  if (bucket === undefined) {
    if (server.sharedPort !== undefined) refuse("server.sharedPort", server.sharedPort, "needs cluster.bucket");
    return;
  }
  for (const [name, at] of Object.entries(peers)) {
    if (at.startsWith("unix:/") || parseHostPort(at)) continue;
    refuse(`cluster.peers.${name}`, at, "must be unix:/path or host:port");
  }
  if (listen !== undefined && !parseHostPort(listen)) refuse("cluster.listen", listen, "must be host:port");
  else if (listen !== undefined && !parseHostPort(peers[zone] ?? ""))
    refuse("cluster.listen", listen, `needs host:port for this instance's zone ${zone} in cluster.peers`);
  if (server.sharedPort !== undefined && server.sharedPort === server.port)
    refuse("server.sharedPort", server.sharedPort, "is server.port, which is this instance's alone");
  const own = parseHostPort(peers[zone] ?? "");
  const leaders = parseHostPort(advertise ?? address);
  const isLocal = leaders !== undefined && isLoopback(leaders.host);
  if (own && !isLoopback(own.host) && isLocal)
    refuse(
      "cluster.address",
      address,
      "is loopback, but the other instances are on other machines: give an address of a private network",
    );
  for (const [field, text] of Object.entries({ address, advertise })) {
    if (text === undefined) continue;
    const at = parseHostPort(text);
    const name = `cluster.${field}`;
    if (!at) refuse(name, text, "must be host:port");
    else if (!isPrivateHost(at.host))
      refuse(
        name,
        text,
        "is a public address, and what passes there is signed but not encrypted: give one of a private network",
      );
    else if (!isLoopback(at.host) && !privateNetwork)
      refuse(
        name,
        text,
        "is not loopback, and what passes there is signed but not encrypted: say --private-network (cluster.privateNetwork) where only the cluster's machines reach it",
      );
  }
}

/** Rules that hold for `serve`, not for the schema. */
export function serveProblems(
  config: Config,
  flags: Permissions,
  nodeVersion: string = process.versions.node,
): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const refuse: Refuse = (field, value, message) => problems.push({ field, value: JSON.stringify(value), message });
  judgeNode(config, refuse, nodeVersion);
  judgeListener(config, flags, refuse);
  judgeStorage(config, refuse);
  judgeCluster(config, refuse);
  if (flags.newDeployment !== undefined && config.cluster.bucket === undefined)
    problems.push({ field: "--new-deployment", value: flags.newDeployment, message: "needs cluster.bucket" });
  if (flags.forceNewDeployment === true && flags.newDeployment === undefined)
    problems.push({ field: "--force-new-deployment", value: "true", message: "needs --new-deployment <word>" });
  return problems;
}

/** Of an instance of a cluster: what the environment must hold. Values are not shown: most are secrets. */
export function environmentProblems({ cluster }: Config, env: NodeJS.ProcessEnv): readonly ConfigProblem[] {
  if (cluster.bucket === undefined) return [];
  const problems: ConfigProblem[] = [...identityProblems(env)];
  const refuse = (field: string, message: string): void => void problems.push({ field, value: undefined, message });
  const { AWS_ENDPOINT_URL: endpoint, AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = env;
  if (endpoint) {
    const url = URL.parse(endpoint);
    if (!url || !/^https?:$/.test(url.protocol)) refuse("AWS_ENDPOINT_URL", "must be an http or https URL");
    else if (url.protocol === "http:" && !isLoopback(url.hostname) && !cluster.privateNetwork)
      refuse(
        "AWS_ENDPOINT_URL",
        "is plain HTTP to another machine: what leaders write would travel readable. Use https, or say --private-network (cluster.privateNetwork) where only the cluster's machines reach it",
      );
  }
  if (env["AWS_CREDENTIALS_FILE"]) return problems;
  if (!id) refuse("AWS_ACCESS_KEY_ID", "is not set, nor AWS_CREDENTIALS_FILE: the bucket asks who we are");
  if (!secret) refuse("AWS_SECRET_ACCESS_KEY", "is not set, nor AWS_CREDENTIALS_FILE: the bucket asks who we are");
  return problems;
}
