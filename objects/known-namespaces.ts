// Which keyspaces there are, so that a read of one that nobody ever wrote to makes no object, and no file, of its own: the reads of all such
// namespaces are answered by one keyspace that stays empty.
// Guarantees: a namespace that was registered before a read came is read itself; where its tenant does not answer the keyspace is asked all
// the same. Must not: be asked about writes, which register, or watches, which wait in the keyspace for its first write.
import { BoundedMap } from "../src/access/bounded-map.ts";
import type { Env } from "./env.ts";
import { withDeadline } from "./with-deadline.ts";

/** Names that are remembered, some 100 bytes each. Forgetting one costs its next read a question. */
const MAX_KNOWN = 50_000;
const ASK_DEADLINE_MS = 1000;
/** The keyspace in which nothing is. */
const EMPTY_KEYSPACE = "empty";

/** Of this isolate: a name that was registered once. */
const known = new BoundedMap<string, true>(MAX_KNOWN);

export interface Namespace {
  readonly tenant: number;
  readonly namespace: string;
}

export function keyspaceName({ tenant, namespace }: Namespace): string {
  return `c${tenant}/${namespace}`;
}

/** A zone's copy of it, by its name. */
export function copyName(zone: string, keyspace: string): string {
  return `${zone}/${keyspace}`;
}

/** Written to from here: what reads it after that in this isolate goes where the write went. */
export function noteNamespace(name: string): void {
  known.set(name, true);
}

/** After its end. */
export function forgetNamespace(name: string): void {
  known.delete(name);
}

/** The name of the object to read: known at once, or to be waited for. */
export function readableKeyspace(env: Pick<Env, "TENANT">, namespace: Namespace): string | Promise<string> {
  const name = keyspaceName(namespace);
  return known.get(name) ? name : askForKeyspace(env, namespace);
}

async function askForKeyspace({ TENANT }: Pick<Env, "TENANT">, { tenant, namespace }: Namespace): Promise<string> {
  const name = keyspaceName({ tenant, namespace });
  try {
    const stub = TENANT.get(TENANT.idFromName(`t${tenant}`));
    if (!(await withDeadline(stub.hasNamespace(namespace), ASK_DEADLINE_MS, "Tenant"))) return EMPTY_KEYSPACE;
    known.set(name, true);
  } catch {
    // Its tenant is away: better a file too many than a read without an answer.
  }
  return name;
}
