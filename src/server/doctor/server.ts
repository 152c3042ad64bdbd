// What a running server says when it is asked from outside.

import { instanceFindings } from "./cluster.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

const TIMEOUT_MS = 5000;
/** Signed tokens and a cluster's bucket mind clocks that differ. Ms. */
const MOST_SKEW_MS = 3000;

export interface ServerAnswers {
  readonly findings: readonly Finding[];
  readonly ready?: unknown;
  readonly status?: unknown;
  readonly metrics?: string | undefined;
}

async function asked(url: string, path: string, key: string | undefined): Promise<Response | undefined> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  return fetch(url + path, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => undefined);
}

/** `key`: the root key, for what only it may see. */
export async function askServer(url: string, key: string | undefined): Promise<ServerAnswers> {
  const beganMs = Date.now();
  const health = await asked(url, "/v1/health", undefined);
  if (!health?.ok) {
    const found = health ? `answers ${health.status}` : `nothing answers at ${url}`;
    return { findings: [warn("server", found, "start it with: jade-db serve (or name it with --url)")] };
  }
  const skewMs = clockSkewMs(health.headers.get("date"), beganMs, Date.now());
  const [ready, status, metrics, cluster] = await Promise.all(
    ["/v1/ready", "/v1/status", "/metrics", "/v1/cluster"].map((path) => asked(url, path, key)),
  );
  const instances = cluster?.ok
    ? ((await cluster.json()) as { data: Parameters<typeof instanceFindings>[0] })
    : undefined;
  const body = (await ready?.json().catch(() => undefined)) as { message?: string } | undefined;
  const findings = [
    ok("server", `answers at ${url}`),
    ready?.ok
      ? ok("readiness", "it can serve")
      : fail(
          "readiness",
          String(body?.message ?? "no answer"),
          "docs/operations/troubleshooting.md; its log says more",
        ),
    Math.abs(skewMs) <= MOST_SKEW_MS
      ? ok("clock", "the server's agrees with this machine's")
      : warn("clock", `the server's is ${Math.round(skewMs / 1000)} s away from this machine's`, "run NTP on both"),
    ...(instances ? instanceFindings(instances.data) : []),
  ];
  return {
    findings,
    ready: body,
    status: status?.ok ? await status.json() : undefined,
    metrics: metrics?.ok ? await metrics.text() : undefined,
  };
}

/** How far a `Date` header is from the time around its request; it is whole seconds. */
function clockSkewMs(header: string | null, beganMs: number, endedMs: number): number {
  const told = header === null ? Number.NaN : Date.parse(header);
  if (Number.isNaN(told)) return 0;
  if (told + 1000 < beganMs) return told + 1000 - beganMs;
  return told > endedMs ? told - endedMs : 0;
}
