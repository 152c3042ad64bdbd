// The process that ends TLS: what `jade-db serve` starts by the hidden command `tls-front`. Tells its parent the ports; ends with it.
import { TlsFront, type TlsFrontOptions } from "./front.ts";

/** Of the environment: the options as JSON. */
export const TLS_OPTIONS = "JADE_TLS_FRONT";

export type TlsReport = { readonly ports: readonly number[] } | { readonly problem: string };

export async function runTlsFront(): Promise<void> {
  const options = JSON.parse(process.env[TLS_OPTIONS] ?? "") as TlsFrontOptions;
  // Ctrl-C reaches the whole group: the parent says when.
  process.on("SIGINT", () => undefined).on("SIGHUP", () => undefined);
  try {
    const front = new TlsFront(options, (line) => console.error(`jade-db: ${line}`));
    const stop = (): void => void front.stop().finally(() => process.exit(0));
    process.once("disconnect", stop).once("SIGTERM", stop);
    process.send?.({ ports: await front.listen() } satisfies TlsReport);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    process.send?.({ problem } satisfies TlsReport, () => process.exit(1));
  }
}
