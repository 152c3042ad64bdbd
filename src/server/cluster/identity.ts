// What every instance of a cluster must be given alike: the root key, and the key by which its members know each other.
// Guarantees: an instance without them does not start; neither is made here, or two instances would make two.

import type { ConfigProblem } from "../config-problems.ts";
import { exitCodes, OperatorError } from "../problem.ts";
import { hashKey } from "../root-key.ts";

export const MIN_CLUSTER_KEY_CHARACTERS = 32;

export interface ClusterIdentity {
  readonly rootKeyHash: string;
  readonly clusterKey: string;
}

/** The values themselves are never shown. */
export function identityProblems(env: NodeJS.ProcessEnv): readonly ConfigProblem[] {
  const { JADE_ROOT_KEY: rootKey, JADE_ROOT_KEY_HASH: hash, JADE_CLUSTER_KEY: clusterKey } = env;
  const problems: ConfigProblem[] = [];
  const refuse = (field: string, message: string): void => void problems.push({ field, value: undefined, message });
  if (!rootKey && !hash) refuse("JADE_ROOT_KEY", "is not set, nor JADE_ROOT_KEY_HASH (its SHA-256 in hex)");
  if (!rootKey && hash && !/^[0-9a-f]{64}$/i.test(hash)) refuse("JADE_ROOT_KEY_HASH", "is not a SHA-256 in hex");
  if (!clusterKey)
    refuse("JADE_CLUSTER_KEY", "is not set: 32 or more random characters, such as of openssl rand -hex 32");
  else if (clusterKey.length < MIN_CLUSTER_KEY_CHARACTERS) {
    const message = `has ${clusterKey.length} characters; it needs ${MIN_CLUSTER_KEY_CHARACTERS} random ones`;
    refuse("JADE_CLUSTER_KEY", message);
  }
  return problems;
}

/** @throws OperatorError when one is missing, too short or no SHA-256. */
export function clusterIdentity(env: NodeJS.ProcessEnv): ClusterIdentity {
  const [problem] = identityProblems(env);
  if (problem)
    throw new OperatorError(`${problem.field} ${problem.message}. Every instance of a cluster must be given the same`, {
      exitCode: exitCodes.invalidConfiguration,
    });
  const { JADE_ROOT_KEY: rootKey, JADE_ROOT_KEY_HASH: hash, JADE_CLUSTER_KEY: clusterKey } = env;
  return { rootKeyHash: rootKey ? hashKey(rootKey) : hash!.toLowerCase(), clusterKey: clusterKey! };
}
