// What stands in front of workerd, each as far as it is configured: TLS, native gRPC, watch fronts.
// Guarantees: with a certificate every port that clients reach speaks TLS, and workerd's own HTTP is on loopback only.

import type { Config } from "./config-schema.ts";
import { GrpcFront } from "./grpc/front.ts";
import { assertPortFree, localUrl } from "./port.ts";
import { OperatorError } from "./problem.ts";
import type { CertificateFiles } from "./tls/certificate.ts";
import { TlsKeeper } from "./tls/keeper.ts";
import { WatchFronts } from "./watch/fronts.ts";

const LOOPBACK = "127.0.0.1";

export interface FrontUrls {
  /** Where this instance's clients and its probes ask. */
  readonly main: string;
  /** The same for all instances of the host. */
  readonly shared?: string | undefined;
  readonly grpc?: string | undefined;
  readonly watches?: string | undefined;
}

export interface FrontsOptions {
  readonly config: Config;
  readonly report: (line: string) => void;
}

export interface Fronts {
  readonly urls: FrontUrls;
  stop(): Promise<void>;
}

export function certificateFiles({ server: { tlsCert, tlsKey } }: Config): CertificateFiles | undefined {
  return tlsCert === undefined || tlsKey === undefined ? undefined : { certFile: tlsCert, keyFile: tlsKey };
}

/** Where workerd listens: behind TLS on a port of loopback that it chooses. */
export function innerAddress(config: Config): { readonly host: string; readonly port: number } {
  const { host, port } = config.server;
  return certificateFiles(config) ? { host: LOOPBACK, port: 0 } : { host, port };
}

/** @throws OperatorError when another program has one. A port that instances share is not asked for. */
export async function assertPortsFree({ server, etcd }: Config): Promise<void> {
  for (const port of [server.port, etcd.grpcPort, server.watchPort])
    if (port !== undefined) await assertPortFree(server.host, port);
}

async function started<T>(what: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError(`${what} cannot start: ${why}`, { cause });
  }
}

/** `url`: of workerd. @throws OperatorError when one cannot listen or serve its certificate. */
export async function startFronts({ config, report }: FrontsOptions, url: string): Promise<Fronts> {
  const { server, etcd } = config;
  const files = certificateFiles(config);
  const shown = (port: number, scheme: "http" | "ws"): string =>
    localUrl(server.host, port).replace(/^http/, files ? `${scheme}s` : scheme);
  const stops: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => void (await Promise.all(stops.map((each) => each())));
  const { hostname, port: behind } = new URL(url);
  const shared = server.sharedPort;
  let ports: readonly (number | undefined)[] = [Number(behind), shared];
  try {
    if (files) {
      const sharing = shared === undefined ? [] : [{ host: server.host, port: shared, reusePort: true }];
      const listens = [{ host: server.host, port: server.port }, ...sharing];
      const keeper = new TlsKeeper({ behind: { host: hostname, port: Number(behind) }, listens, files }, report);
      ports = await started("TLS", () => keeper.start());
      // Not waited for: its connections end with those behind them.
      stops.push(() => void keeper.stop());
    }
    const grpc = await startGrpc(config, { url, report });
    if (grpc) stops.push(() => grpc.front.stop());
    const watches = await startWatchFronts(config, { url, report, files });
    if (watches) stops.push(() => watches.fronts.stop());
    const isGrpcSecure = files !== undefined || etcd.grpcCert !== undefined;
    return {
      urls: {
        main: shown(ports[0]!, "http"),
        shared: ports[1] === undefined ? undefined : shown(ports[1], "http"),
        grpc: grpc && localUrl(server.host, grpc.port).replace(/^http/, isGrpcSecure ? "https" : "http"),
        watches: watches && shown(watches.port, "ws"),
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface FrontPlace {
  readonly url: string;
  readonly report: (line: string) => void;
}

async function startGrpc(config: Config, { url, report }: FrontPlace) {
  const { grpcPort, grpcCert, grpcKey, grpcClientCa } = config.etcd;
  if (grpcPort === undefined) return undefined;
  const files = grpcCert && grpcKey ? { certFile: grpcCert, keyFile: grpcKey } : certificateFiles(config);
  const tls = files && { ...files, clientCaFile: grpcClientCa };
  return started("native gRPC", async () => {
    const front = new GrpcFront({ url, host: config.server.host, port: grpcPort, tls, report });
    return { front, port: await front.listen() };
  });
}

async function startWatchFronts(
  { server }: Config,
  { url, report, files }: FrontPlace & { readonly files: CertificateFiles | undefined },
) {
  const { host, watchPort, watchFronts, watchMaxConnections, watchMaxPerKey, watchMaxUnreadMiB } = server;
  if (watchPort === undefined) return undefined;
  const limits = {
    maxClients: watchMaxConnections,
    maxPerKey: watchMaxPerKey || undefined,
    maxUnreadBytes: watchMaxUnreadMiB * 1024 * 1024,
  };
  const fronts = new WatchFronts({ url, host, port: watchPort, count: watchFronts, limits, report, tls: files });
  return started("the watch front", async () => ({ fronts, port: await fronts.start() }));
}
