// A front process: what `jade-db serve` starts by the hidden command `watch-front`. Tells its parent the port; ends with it.

import type { Samples } from "../../telemetry/sample-sums.ts";
import type { WatchFrontOptions } from "./front.ts";
import { WatchFront } from "./front.ts";
import { RESERVED_DESCRIPTORS } from "./limits.ts";

/** Of the environment: the options as JSON. */
export const FRONT_OPTIONS = "JADE_WATCH_FRONT";
const STOP_MS = 1000;
/** How old what one process shows of the others may be. Ms. */
const SAMPLES_EVERY_MS = 1000;

/** `maxClients`: fewer than there are descriptors for; 0 = as many. */
export type FrontProcessOptions = WatchFrontOptions;
export type FrontReport = { readonly port: number } | { readonly problem: string } | FrontSamples;
/** Of one process to its parent, and of all of them back. */
export interface FrontSamples {
  readonly samples: Samples;
}

interface Report {
  readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } };
}

/** As many as there are descriptors for. */
export function mostClients(): number {
  const { userLimits } = process.report.getReport() as Report;
  const soft = Number(userLimits?.open_files?.soft);
  return Number.isFinite(soft) ? Math.max(100, soft - RESERVED_DESCRIPTORS) : Number.MAX_SAFE_INTEGER;
}

export async function runFrontProcess(): Promise<void> {
  const options = JSON.parse(process.env[FRONT_OPTIONS] ?? "") as FrontProcessOptions;
  const maxClients = Math.min(options.maxClients || Number.MAX_SAFE_INTEGER, mostClients());
  const front = new WatchFront({ ...options, maxClients });
  const stop = (): void => {
    front.stop();
    setTimeout(() => process.exit(0), STOP_MS);
  };
  process.on("disconnect", stop);
  // Ctrl-C reaches the whole group: the parent says when.
  process.on("SIGINT", () => undefined).on("SIGHUP", () => undefined);
  process.once("SIGTERM", stop);
  try {
    process.send?.({ port: await front.listen() } satisfies FrontReport);
    process.on("message", ({ samples }: FrontSamples) => front.showAll(samples));
    setInterval(() => process.send?.({ samples: front.samples() } satisfies FrontReport), SAMPLES_EVERY_MS).unref();
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    process.send?.({ problem } satisfies FrontReport, () => process.exit(1));
  }
}
