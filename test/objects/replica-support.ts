// What the tests of replicas and coordinators share: frames to one storage node, and doubles for the nodes it calls.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { tokenOf } from "../../src/cluster/token.ts";
import { decodeState, encodeState, type KeyState } from "../../src/kv/key-state.ts";
import { type ReplicaOp, type ReplicaResult, readResult, writeOp } from "../../src/replication/frames.ts";
import { readAnswerHeader } from "../../src/replication/replica.ts";
import type { RowKey } from "../../src/storage/types.ts";
import { ByteReader, ByteWriter } from "../../src/wire/bytes.ts";
import type { KeyValueReplica } from "../../src/worker.ts";

export type ReplicaStub = DurableObjectStub<KeyValueReplica>;

export function replica(nodeId: string): ReplicaStub {
  return env.KEY_VALUE_REPLICA.get(env.KEY_VALUE_REPLICA.idFromName(nodeId)) as unknown as ReplicaStub;
}

let tenants = 1_000_000;
/** A tenant number that nothing else uses. */
export const newTenantNumber = (): number => ++tenants;

export const newWriteId = (): Uint8Array => crypto.getRandomValues(new Uint8Array(16));
export const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

export function rowOf(tenant: number, key: string): RowKey {
  return { tenant, key, token: tokenOf(tenant, key) };
}

export function stampOf(
  row: RowKey,
  text: string,
  more: Partial<Extract<ReplicaOp, { kind: "stamp" }>> = {},
): ReplicaOp {
  return {
    kind: "stamp",
    row,
    writeId: newWriteId(),
    value: encode(text),
    clock: undefined,
    restamp: false,
    supersedeAll: false,
    ...more,
  };
}

/** A state with one version, as another replica would ship it. */
export function stateOf(text: string, counter: number): Uint8Array {
  const dot = { actor: 99 * 4096 + 1, counter };
  const version = { writeId: newWriteId(), dots: [dot], time: counter, restamped: false, value: encode(text) };
  return encodeState({ clock: { vector: [dot], dots: [], time: counter }, unsettled: [], versions: [version] });
}

export function frameOf(...ops: readonly ReplicaOp[]): Uint8Array {
  const writer = new ByteWriter(1024);
  for (const op of ops) writeOp(writer, op);
  return writer.take();
}

export interface FrameAnswer {
  readonly actor: number;
  readonly counter: number;
  /** The replica's time, which deadlines are given in. Ms. */
  readonly nowMs: number;
  readonly results: readonly ReplicaResult[];
}

export function readFrameAnswer(frame: Uint8Array): FrameAnswer {
  const reader = new ByteReader(frame);
  const { actor, counter, nowMs } = readAnswerHeader(reader);
  const results: ReplicaResult[] = [];
  while (!reader.done) results.push(readResult(reader));
  return { actor, counter, nowMs, results };
}

export async function send(nodeId: string, ...ops: readonly ReplicaOp[]): Promise<FrameAnswer> {
  return readFrameAnswer(await replica(nodeId).call(frameOf(...ops)));
}

export async function held(nodeId: string, row: RowKey): Promise<KeyState | undefined> {
  const { results } = await send(nodeId, { kind: "get", row });
  const [result] = results;
  if (result?.kind !== "state") throw new Error(`a get was answered with ${result?.kind}`);
  return result.state && decodeState(result.state);
}

export function valuesOf(state: KeyState | undefined): (string | undefined)[] {
  return (state?.versions ?? []).map(({ value }) => value && new TextDecoder().decode(value));
}

/** Replaces bindings of one living object; gone when it is evicted. */
export async function replaceBindings(stub: DurableObjectStub, bindings: object): Promise<void> {
  await runInDurableObject(stub, (instance) => {
    (instance as unknown as { env: object }).env = { ...env, ...bindings };
  });
}

/** The object dies and starts again; its timers and doubles are gone. (An eviction would wait for its timers.) */
export async function restart(nodeId: string): Promise<void> {
  await runInDurableObject(replica(nodeId), (_, state) => state.abort("injected: restart")).catch(() => undefined);
}

/** A namespace whose stubs are made by `stubOf`, by object name. */
export function namespaceOf(stubOf: (name: string) => object): object {
  return { idFromName: (name: string) => name, get: (name: string) => stubOf(name) };
}

/** A replica that rejects its first calls and passes the rest on. */
export function failingFirst(
  nodeId: string,
  failures: number,
): { call(frame: Uint8Array): Promise<Uint8Array>; calls: number } {
  const double = {
    calls: 0,
    async call(frame: Uint8Array): Promise<Uint8Array> {
      if (double.calls++ < failures) throw new Error("injected: away");
      return replica(nodeId).call(frame);
    },
  };
  return double;
}

export async function eventually(check: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
