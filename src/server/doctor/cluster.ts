// What may be wrong with an instance of a cluster that its own server does not tell: environment, bucket, clock, the ways to the others.
// Must not: show what the environment holds, or change anything in the bucket.
import { connect } from "node:net";
import { parseHostPort } from "../cluster/tunnel.ts";
import type { Config } from "../config-schema.ts";
import { environmentProblems } from "../serve-problems.ts";
import { type CertificateFiles, readCertificate } from "../tls/certificate.ts";
import { EXPIRES_SOON_DAYS } from "../tls/limits.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

const ANSWER_MS = 3000;
/** workerd's instances do not start, or end, when they are further from the bucket's clock. Ms. */
const MOST_BUCKET_SKEW_MS = 5000;
const DAY_MS = 86_400_000;

function environment(config: Config, env: NodeJS.ProcessEnv): Finding {
  const problems = environmentProblems(config, env);
  if (problems.length === 0) return ok("environment", "keys and the bucket's credentials are set");
  const found = problems.map(({ field, message }) => `${field} ${message}`).join("; ");
  return fail("environment", found, "run it with the environment of the server; docs/cluster.md names the variables");
}

/** What the system or TLS says of it, where it does. */
export function whyOf({ message, cause }: Error): string {
  const { code, message: why = message } = (cause ?? {}) as { readonly code?: string; readonly message?: string };
  return code ?? why;
}

/** Whether it answers at all: nothing is signed here, so it refuses, and tells its time. */
async function bucket(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  const endpoint = env["AWS_ENDPOINT_URL"];
  if (!endpoint) return [ok("bucket", "the one of AWS, which was not asked")];
  const beganMs = Date.now();
  const answer = await fetch(endpoint, { signal: AbortSignal.timeout(ANSWER_MS) }).catch((error: Error) => error);
  const advice = "leaders are away without it, key-value goes on; docs/operations/lost-bucket.md";
  if (answer instanceof Error) return [fail("bucket", `${endpoint} does not answer: ${whyOf(answer)}`, advice)];
  const [tookMs, told] = [Date.now() - beganMs, Date.parse(answer.headers.get("date") ?? "")];
  const here = ok("bucket", `answers at ${endpoint} after ${tookMs} ms`);
  if (Number.isNaN(told)) return [here];
  const skewMs = Math.round(told + 500 - (beganMs + tookMs / 2));
  if (Math.abs(skewMs) < MOST_BUCKET_SKEW_MS) return [here, ok("bucket's clock", "agrees with this machine's")];
  const found = `${Math.round(skewMs / 1000)} s away from this machine's`;
  return [here, fail("bucket's clock", found, "leaders do not run beyond 5 s: run NTP on both")];
}

function connects(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: ANSWER_MS }, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once("timeout", () => {
      socket.destroy();
      resolve("no answer");
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

/** The others' listeners for this instance's calls; sockets of one machine are not asked. */
async function peers({ cluster }: Config): Promise<readonly Finding[]> {
  const others = Object.entries(cluster.peers).filter(([zone]) => zone !== cluster.zone);
  const asked = others.flatMap(([zone, address]) => {
    const at = parseHostPort(address);
    return at ? [{ zone, address, at }] : [];
  });
  return Promise.all(
    asked.map(async ({ zone, address, at }) => {
      const why = await connects(at.host, at.port);
      if (why === undefined) return ok(`peer ${zone}`, `listens at ${address}`);
      const advice = "start it, or let this machine reach that port; key-value needs a majority of the zones";
      return warn(`peer ${zone}`, `${address}: ${why}`, advice);
    }),
  );
}

/** @throws BadCertificate, which a configuration that was judged cannot have */
export function certificate(files: CertificateFiles, nowMs: number = Date.now()): Finding {
  const { validToMs } = readCertificate(files);
  const days = Math.floor((validToMs - nowMs) / DAY_MS);
  const found = `${files.certFile} is valid to ${new Date(validToMs).toISOString()}`;
  if (days < 0) return fail("certificate", found, "renew it: it is read again without a restart");
  if (days >= EXPIRES_SOON_DAYS) return ok("certificate", found);
  return warn("certificate", `${found}, ${days} days from now`, "renew it: it is read again without a restart");
}

export async function clusterFindings(config: Config, env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  if (config.cluster.bucket === undefined) return [];
  const [ofBucket, ofPeers] = await Promise.all([bucket(env), peers(config)]);
  return [environment(config, env), ...ofBucket, ...ofPeers];
}

interface Instances {
  readonly directory?: string;
  readonly instances?: readonly {
    readonly zone: string;
    readonly zoneProcess: string;
    readonly leadersProcess: string;
    readonly nodes: readonly { readonly nodeId: string; readonly answering: boolean }[];
  }[];
}

/** What `GET /v1/cluster` told. */
export function instanceFindings({ directory, instances = [] }: Instances): readonly Finding[] {
  const away = instances.flatMap(({ zone, zoneProcess, leadersProcess, nodes }) => [
    ...(zoneProcess === "away" ? [`the zone's process of ${zone}`] : []),
    ...(leadersProcess === "away" ? [`the leaders' process of ${zone}`] : []),
    ...nodes.filter(({ answering }) => !answering).map(({ nodeId }) => `${nodeId} in ${zone}`),
  ]);
  const isAway = directory === "away" ? ["the Directory"] : [];
  if (away.length + isAway.length === 0) return [ok("instances", `${instances.length} answer, with their nodes`)];
  const found = `away: ${[...isAway, ...away].join(", ")}`;
  const least = Math.floor(instances.length / 2) + 1;
  const there = instances.filter(({ zoneProcess }) => zoneProcess !== "away").length;
  const advice = "look at that machine; leaders are taken over some 20 s after theirs died";
  return [there < least ? fail("instances", found, advice) : warn("instances", found, advice)];
}
