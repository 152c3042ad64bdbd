// GET /v1/health: this process answers. GET /v1/ready: it can serve; names what cannot. GET /v1/status: what runs here.
// Guarantees: health asks nobody; readiness asks each part with a deadline, at most once a second whoever asks.
// Must not: tell anonymous callers more than names of parts.
import { z } from "@hono/zod-openapi";
import { told } from "../../objects/told.ts";
import { withDeadline } from "../../objects/with-deadline.ts";
import packageFile from "../../package.json" with { type: "json" };
import type { DirectoryView } from "../access/types.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import { Cached } from "./cached.ts";
import type { Call } from "./call.ts";
import { reading } from "./errors.ts";
import { PROBE_CACHE_MS, READY_DEADLINE_MS } from "./limits.ts";
import { defineRoute, type Route } from "./route.ts";
import { nodeShape } from "./schemas.ts";
import type { Services } from "./services.ts";
import { shownNode } from "./storage-nodes.ts";

export const VERSION: string = packageFile.version;

interface Readiness {
  /** Parts without which nothing, or no quorum, can be served. */
  readonly failing: readonly string[];
  /** Parts that are away while a majority is there. */
  readonly degraded: readonly string[];
  readonly replicas: { readonly total: number; readonly answering: number };
}

async function probe(call: Call, name: string, work: Promise<unknown>): Promise<boolean> {
  try {
    await withDeadline(work, READY_DEADLINE_MS, name);
    return true;
  } catch (error) {
    call.services.log.warn("probe failed", { part: name }, error);
    return false;
  }
}

async function keptView(call: Call, known: { view?: DirectoryView }): Promise<void> {
  const kept = await call.services.stubs.zoneViews().directory();
  if (kept) known.view = kept.view;
}

/**
 * `known`: what the Directory said last, for as long as it is away. In a cluster its owner moves with the instance that it was on, while
 * key-value and copies go on.
 */
async function observeReadiness(call: Call, known: { view?: DirectoryView }): Promise<Readiness> {
  const { stubs } = call.services;
  const asked = stubs.directory().view();
  const hasDirectory = await probe(
    call,
    "directory",
    asked.then((answer) => {
      known.view = answer;
    }),
  );
  const isMoving = !hasDirectory && call.services.env.JADE_CLUSTER !== undefined;
  // One that was started meanwhile serves by what its zone has kept.
  if (isMoving && !known.view) await probe(call, "zone views", keptView(call, known));
  const { view } = known;
  if (!view || (!hasDirectory && !isMoving))
    return { failing: ["directory"], degraded: [], replicas: { total: 0, answering: 0 } };
  // One that is rebuilt counts in no quorum; it must not vanish from the total meanwhile.
  const nodes = view.nodes.filter(({ state }) => state === "active" || state === "rebuilding");
  const answers = await Promise.all(nodes.map((node) => probe(call, node.id, stubs.replica(node.id).probe())));
  const away = nodes.filter((_, index) => !answers[index]).map((node) => `storage node ${node.id}`);
  const answering = nodes.length - away.length;
  const hasQuorum = answering > nodes.length / 2;
  const drained = told()?.drained;
  const failing = [...(drained ? [drained] : []), ...(hasQuorum ? [] : ["replica quorum", ...away])];
  const degraded = [...(isMoving ? ["directory"] : []), ...(hasQuorum ? away : [])];
  return { failing, degraded, replicas: { total: nodes.length, answering } };
}

const health = defineRoute({
  method: "get",
  path: "/v1/health",
  summary: "Whether this process is alive; asks nothing else",
  access: "open",
  ignoresKey: true,
  data: z.object({ alive: z.literal(true) }),
  errors: [],
  handle: async (call) => success(call, { message: "alive", data: { alive: true } }),
});

function readyRoute(services: Services): Route {
  const readiness = new Cached<Readiness>(PROBE_CACHE_MS, services.now);
  const known: { view?: DirectoryView } = {};
  return defineRoute({
    method: "get",
    path: "/v1/ready",
    summary: "Whether requests can be served: the Directory, a majority of replicas and their blob stores",
    access: "open",
    ignoresKey: true,
    data: z.object({
      ready: z.literal(true),
      degraded: z.array(z.string()),
      replicas: z.object({ total: z.number(), answering: z.number() }),
    }),
    errors: ["unavailable"],
    async handle(call) {
      const { failing, degraded, replicas } = await readiness.get(2 * READY_DEADLINE_MS, () =>
        observeReadiness(call, known),
      );
      if (failing.length > 0) {
        const message = told()?.drained ?? `not ready: ${failing.join(", ")} cannot serve`;
        throw new PublicError("unavailable", message, { failing, replicas });
      }
      return success(call, { message: "ready", data: { ready: true, degraded, replicas } });
    },
  });
}

const STORAGE_SAMPLE = /^jade_storage_([a-z_]+)\{node="([^"]+)"\}$/;

/** Sums over the nodes of what they report of their storage. */
async function observeStorage(call: Call, view: DirectoryView): Promise<Record<string, number>> {
  const { stubs } = call.services;
  const sums: Record<string, number> = {};
  const holding = view.nodes.filter(({ state }) => state !== "removed");
  const asked = holding.map((node) => withDeadline(stubs.replica(node.id).metrics(), READY_DEADLINE_MS, node.id));
  for (const result of await Promise.allSettled(asked)) {
    if (result.status === "rejected") continue;
    for (const [sample, value] of Object.entries(result.value)) {
      const name = STORAGE_SAMPLE.exec(sample)?.[1]?.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
      if (name) sums[name] = (sums[name] ?? 0) + value;
    }
  }
  return sums;
}

function statusRoute(services: Services): Route {
  const storage = new Cached<Record<string, number>>(PROBE_CACHE_MS, services.now);
  return defineRoute({
    method: "get",
    path: "/v1/status",
    summary: "Version and mode; with a key also uptime and nodes, with the root key storage figures too",
    access: "open",
    data: z.object({
      version: z.string(),
      mode: z.string(),
      uptimeSeconds: z.number().optional(),
      nodes: z.array(nodeShape).optional(),
      storage: z.record(z.string(), z.number()).optional(),
    }),
    errors: [],
    async handle(call) {
      const { env, now, startedAtMs, stubs } = call.services;
      const anonymous = { version: VERSION, mode: env.JADE_MODE ?? "unknown" };
      if (!call.principal) return success(call, { message: "running", data: anonymous });
      const uptimeSeconds = Math.max(0, Math.floor((now() - startedAtMs) / 1000));
      const view = await reading(stubs.directory().view(), "Directory");
      const known = { ...anonymous, uptimeSeconds, nodes: view.nodes.map(shownNode) };
      // How much is stored in all would let a tenant watch the others.
      if (call.principal.kind !== "root") return success(call, { message: "running", data: known });
      const figures = await storage.get(READY_DEADLINE_MS, () => observeStorage(call, view));
      return success(call, { message: "running", data: { ...known, storage: figures } });
    },
  });
}

export function healthRoutes(services: Services): readonly Route[] {
  return [health, readyRoute(services), statusRoute(services)];
}
