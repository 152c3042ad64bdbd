// What a running server says when it is asked from outside.

import { instanceFindings, whyOf } from "./cluster.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

const TIMEOUT_MS = 5000;
/** Signed tokens and a cluster's bucket mind clocks that differ. Ms. */
const MOST_SKEW_MS = 3000;

export interface ServerAnswers {
  readonly findings: readonly Finding[];
  readonly ready?: unknown;
  readonly status?: unknown;
  readonly metrics?: string | undefined;
  /** With the root key. */
  readonly cluster?: unknown;
  readonly events?: unknown;
  readonly operations?: unknown;
}

type Answer = { readonly response: Response } | { readonly response?: undefined; readonly why: string };

async function asked(url: string, path: string, key: string | undefined): Promise<Answer> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  try {
    return { response: await fetch(url + path, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) }) };
  } catch (error) {
    return { why: whyOf(error as Error) };
  }
}

interface Body {
  readonly message?: string;
  readonly data?: unknown;
}

/** Undefined = nothing that can be read. */
async function bodyOf({ response }: Answer): Promise<Body | undefined> {
  return (await response?.json().catch(() => undefined)) as Body | undefined;
}

function readiness({ response }: Answer, body: Body | undefined): Finding {
  if (!response?.ok) {
    const found = String(body?.message ?? "no answer");
    return fail("readiness", found, "docs/operations/troubleshooting.md; its log says more");
  }
  const { degraded = [] } = (body?.data ?? {}) as { readonly degraded?: readonly string[] };
  if (degraded.length === 0) return ok("readiness", "it can serve");
  const advice = "it serves what does not need them; docs/operations/troubleshooting.md";
  return warn("readiness", `it can serve, without: ${degraded.join(", ")}`, advice);
}

function clock(skewMs: number): Finding {
  if (Math.abs(skewMs) <= MOST_SKEW_MS) return ok("clock", "the server's agrees with this machine's");
  return warn("clock", `the server's is ${Math.round(skewMs / 1000)} s away from this machine's`, "run NTP on both");
}

/** `key`: the root key, for what only it may see. */
export async function askServer(url: string, key: string | undefined): Promise<ServerAnswers> {
  const beganMs = Date.now();
  const health = await asked(url, "/v1/health", undefined);
  if (!health.response?.ok) {
    const found = health.response ? `answers ${health.response.status}` : `nothing answers at ${url} (${health.why})`;
    const advice = /CERT|ISSUER|SIGNATURE/.test(found)
      ? "have Node trust its authority: NODE_EXTRA_CA_CERTS=<file>"
      : "start it with: jade-db serve (or name it with --url)";
    return { findings: [warn("server", found, advice)] };
  }
  const skewMs = clockSkewMs(health.response.headers.get("date"), beganMs, Date.now());
  const paths = ["/v1/ready", "/v1/status", "/v1/cluster", "/v1/cluster/events", "/v1/cluster/operations"];
  const [metrics, ...answers] = await Promise.all(["/metrics", ...paths].map((path) => asked(url, path, key)));
  const [readyBody, ...bodies] = await Promise.all(answers.map(bodyOf));
  const [status, cluster, events, operations] = bodies.map((body, index) =>
    answers[index + 1]?.response?.ok ? body : undefined,
  );
  const { mode } = (status?.data ?? {}) as { readonly mode?: string };
  const notAsked = mode === "cluster" && !cluster;
  const findings = [
    ok("server", `answers at ${url}`),
    readiness(answers[0]!, readyBody),
    clock(skewMs),
    ...(cluster ? instanceFindings(cluster.data as Parameters<typeof instanceFindings>[0]) : []),
    ...(notAsked ? [ok("instances", "not asked: that takes the root key (JADE_ROOT_KEY)")] : []),
  ];
  const told = metrics?.response?.ok ? await metrics.response.text() : undefined;
  return { findings, ready: readyBody, status, metrics: told, cluster, events, operations };
}

/** How far a `Date` header is from the time around its request; it is whole seconds. */
function clockSkewMs(header: string | null, beganMs: number, endedMs: number): number {
  const told = header === null ? Number.NaN : Date.parse(header);
  if (Number.isNaN(told)) return 0;
  if (told + 1000 < beganMs) return told + 1000 - beganMs;
  return told > endedMs ? told - endedMs : 0;
}
