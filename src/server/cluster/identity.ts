// What every instance of a cluster must be given alike: the root key, and the key by which its members know each other.
// Guarantees: an instance without them does not start; neither is made here, or two instances would make two.

import { exitCodes, OperatorError } from "../problem.ts";
import { hashKey } from "../root-key.ts";

export const MIN_CLUSTER_KEY_CHARACTERS = 32;

export interface ClusterIdentity {
  readonly rootKeyHash: string;
  readonly clusterKey: string;
}

function missing(what: string): OperatorError {
  return new OperatorError(`${what}. Every instance of a cluster must be given the same`, {
    exitCode: exitCodes.invalidConfiguration,
  });
}

/** @throws OperatorError when one is missing, too short or no SHA-256. */
export function clusterIdentity(env: NodeJS.ProcessEnv): ClusterIdentity {
  const { JADE_ROOT_KEY: rootKey, JADE_ROOT_KEY_HASH: hash, JADE_CLUSTER_KEY: clusterKey } = env;
  if (!rootKey && !hash) throw missing("JADE_ROOT_KEY is not set, nor JADE_ROOT_KEY_HASH (its SHA-256 in hex)");
  if (!rootKey && !/^[0-9a-f]{64}$/i.test(hash!)) throw missing("JADE_ROOT_KEY_HASH is not a SHA-256 in hex");
  if (!clusterKey)
    throw missing("JADE_CLUSTER_KEY is not set: 32 or more random characters, such as of openssl rand -hex 32");
  if (clusterKey.length < MIN_CLUSTER_KEY_CHARACTERS) {
    const length = `JADE_CLUSTER_KEY has ${clusterKey.length} characters`;
    throw missing(`${length}; it needs ${MIN_CLUSTER_KEY_CHARACTERS} random ones`);
  }
  return { rootKeyHash: rootKey ? hashKey(rootKey) : hash!.toLowerCase(), clusterKey };
}
