// What the commands of `jade-db config` share.
import type { Command } from "commander";
import type { Config, ConfigKey } from "../client/index.ts";
import { type Context, withContext } from "./context.ts";

const tenant = { key: "tenant" } as const;

interface Namespace {
  readonly namespace?: string;
}

export interface ConfigContext extends Context {
  readonly config: Config;
}

/** The keyspace of `--namespace`. */
export function withConfig(command: Command, work: (context: ConfigContext) => Promise<void>): Promise<void> {
  return withContext(command, tenant, (context) => {
    const { namespace } = command.optsWithGlobals<Namespace>();
    const { config } = context.client;
    return work({ ...context, config: namespace === undefined ? config : config.namespace(namespace) });
  });
}

export function shownKey(key: ConfigKey): object {
  return typeof key === "string" ? { key } : { key: Buffer.from(key).toString("base64"), keyEncoding: "base64" };
}
