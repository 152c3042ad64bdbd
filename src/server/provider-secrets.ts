// The keys of remote models' providers on their way from the operator's environment to the embedder's process, past the configuration file.
// Must not: write one down, or say which value it has.
import type { Settings } from "../cluster/settings.ts";

/** Of the variables that the settings name, those that are set. */
export function secretEnvironment(
  { secrets }: Pick<Settings["embedding"], "secrets">,
  env: NodeJS.ProcessEnv,
): Readonly<Record<string, string>> {
  const held = secrets.map(({ name }) => [name, env[name]] as const);
  return Object.fromEntries(held.filter((pair): pair is [string, string] => pair[1] !== undefined));
}
