// The options that every command shares, and what a command runs with.
import { type Command, Option } from "commander";
import { JadeClient, type Transport } from "../client/index.ts";
import { formatted, OUTPUT_FORMATS, type OutputFormat } from "./output.ts";

export interface GlobalFlags {
  readonly url: string;
  readonly apiKey?: string;
  readonly rootKey?: string;
  readonly output: OutputFormat;
  readonly timeout?: string;
}

/** Which key a command uses: control-plane commands prefer the root key, data commands the tenant's. */
export type KeyKind = "root" | "tenant";

export interface Context {
  readonly client: JadeClient;
  readonly flags: GlobalFlags;
  /** Prints a result to stdout. */
  print(result: object | readonly object[]): void;
}

export function addGlobalOptions(program: Command): void {
  program
    .addOption(new Option("--url <url>", "of the server").env("JADE_URL").default("http://127.0.0.1:8787"))
    .addOption(new Option("--api-key <key>", "a tenant's key; better given as JADE_API_KEY").env("JADE_API_KEY"))
    .addOption(
      new Option("--root-key <key>", "the deployment's key; better given as JADE_ROOT_KEY").env("JADE_ROOT_KEY"),
    )
    .addOption(new Option("-o, --output <format>", "how results are printed").choices(OUTPUT_FORMATS).default("table"))
    .addOption(new Option("--timeout <seconds>", "longest time of one call with its retries (default: 30)"));
}

function makeClient(flags: GlobalFlags, kind: KeyKind, transport: Transport): JadeClient {
  const apiKey = kind === "root" ? (flags.rootKey ?? flags.apiKey) : (flags.apiKey ?? flags.rootKey);
  const timeoutMs = flags.timeout === undefined ? undefined : Number(flags.timeout) * 1000;
  return new JadeClient({ url: flags.url, apiKey, transport, timeoutMs });
}

/** Runs a command's work with a client that is closed at the end. */
export async function withContext(
  command: Command,
  options: { readonly key: KeyKind; readonly transport?: Transport },
  work: (context: Context) => Promise<void>,
): Promise<void> {
  const flags = command.optsWithGlobals<GlobalFlags>();
  const client = makeClient(flags, options.key, options.transport ?? "http");
  try {
    await work({ client, flags, print: (result) => console.log(formatted(result, flags.output)) });
  } finally {
    client.close();
  }
}
