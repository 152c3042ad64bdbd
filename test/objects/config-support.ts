// What tests of configuration keyspaces share: a keyspace of one's own, called by RPC as gateway and coordinator do.
import { env } from "cloudflare:workers";
import { ByteWriter } from "../../src/wire/bytes.ts";
import type { ConfigAnswer, ConfigFailure, ConfigRequest, PutRequest } from "../../src/wire/config.ts";
import { readConfigAnswers } from "../../src/wire/config-answers.ts";
import { type ConfigCall, writeConfigCall } from "../../src/wire/config-requests.ts";
import type { ConfigKeyspace } from "../../src/worker.ts";

export type KeyspaceStub = DurableObjectStub<ConfigKeyspace>;

let names = 0;

/** Of no tenant: nobody is asked before its first write. */
export function newKeyspaceName(): string {
  return `k${names++}`;
}

export function keyspace(name: string): KeyspaceStub {
  return env.CONFIG_KEYSPACE.get(env.CONFIG_KEYSPACE.idFromName(name)) as unknown as KeyspaceStub;
}

export function putOf(key: string, value = "v", more: Partial<PutRequest> = {}): PutRequest {
  return { kind: "put", key, value: new TextEncoder().encode(value), ...more };
}

/** Answers in the order of the calls. */
export async function callAll(
  stub: KeyspaceStub,
  calls: readonly Omit<ConfigCall, "id">[],
): Promise<readonly (ConfigAnswer | ConfigFailure)[]> {
  const writer = new ByteWriter();
  for (const [id, call] of calls.entries()) writeConfigCall(writer, { ...call, id });
  return readConfigAnswers(await stub.call(writer.take())).map(({ answer }) => answer);
}

export async function call<K extends ConfigRequest>(
  stub: KeyspaceStub,
  request: K,
): Promise<ConfigAnswer | ConfigFailure> {
  return (await callAll(stub, [{ request }]))[0]!;
}
