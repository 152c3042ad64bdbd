// GET /metrics: what all isolates and objects counted, as Prometheus text.
// Guarantees: this isolate's counts are handed over first, other isolates' are at most a few seconds old; a part that does not
// answer is named by jade_scrape_failures and does not fail the scrape; gathered at most once a second.
// Open by default, as Prometheus expects; JADE_METRICS_ACCESS=root asks for the root key.
import { withDeadline } from "../../objects/with-deadline.ts";
import type { DirectoryView } from "../access/types.ts";
import { EXPOSITION_TYPE, label, renderExposition } from "../telemetry/exposition.ts";
import { type Samples, sumSamples } from "../telemetry/sample-sums.ts";
import { authenticate, requireAccess } from "./access.ts";
import { apiHeaders } from "./answers.ts";
import { Cached } from "./cached.ts";
import type { Call } from "./call.ts";
import { VERSION } from "./health.ts";
import { PROBE_CACHE_MS, READY_DEADLINE_MS } from "./limits.ts";
import type { Route } from "./route.ts";
import type { Services } from "./services.ts";

async function gather(call: Call): Promise<Samples> {
  const { stubs, background, env } = call.services;
  const failures: Record<string, number> = {};
  const ask = async (target: string, work: Promise<Record<string, number>>): Promise<Samples> => {
    try {
      return await withDeadline(work, READY_DEADLINE_MS, target);
    } catch {
      failures[`jade_scrape_failures{part="${label(target)}"}`] = 1;
      return {};
    }
  };
  await background.reportNow();
  const directory = stubs.directory();
  const view: DirectoryView | undefined = await withDeadline(directory.view(), READY_DEADLINE_MS, "directory").catch(
    () => undefined,
  );
  const sources = await Promise.all([
    ask("coordinator", stubs.coordinator().metrics()),
    ask("directory", directory.metrics()),
    ...(env.EMBEDDER ? [ask("embedder", env.EMBEDDER.metrics())] : []),
    ...(view?.nodes ?? [])
      .filter(({ state }) => state !== "removed")
      .map((node) => ask(node.id, stubs.replica(node.id).metrics())),
  ]);
  const build = { [`jade_build_info{version="${label(VERSION)}"}`]: 1 };
  return sumSamples([...sources, failures, build]);
}

export function metricsRoute(services: Services): Route {
  const text = new Cached<string>(PROBE_CACHE_MS, services.now);
  const isOpen = services.env.JADE_METRICS_ACCESS !== "root";
  return {
    method: "get",
    path: "/metrics",
    summary: "Counters of the whole deployment as Prometheus text",
    access: isOpen ? "open" : "root",
    errors: [],
    async run(call) {
      if (!isOpen) requireAccess(await authenticate(call), "root", undefined);
      const body = await text.get(3 * READY_DEADLINE_MS, async () => renderExposition(await gather(call)));
      return new Response(body, { headers: apiHeaders(call, undefined, EXPOSITION_TYPE) });
    },
  };
}
