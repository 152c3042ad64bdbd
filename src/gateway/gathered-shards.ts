// The way from the Coordinator's sessions to shards of vectors: short calls of one turn to one shard go out in one RPC.
// Guarantees: a call that may take long holds up no other; a stub that broke is not used again.
import type { Env } from "../../objects/env.ts";
import type { VectorShardRpc } from "../../objects/vector-rpc.ts";
import { isShortVectorCall } from "../wire/vector-requests.ts";
import { Stubs } from "./stubs.ts";

/** Calls and bytes of one RPC; what is beyond goes in the next. */
const MAX_CALLS = 64;
const MAX_BYTES = 4 * 1024 * 1024;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly resolve: (answer: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

export class GatheredShards extends Stubs {
  readonly #schedule: (run: () => void) => void;
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(env: Env, schedule: (run: () => void) => void) {
    super(env);
    this.#schedule = schedule;
  }

  override vectorShard(name: string): VectorShardRpc {
    const stub = super.vectorShard(name);
    const call = (bytes: Uint8Array): Promise<Uint8Array> =>
      isShortVectorCall(bytes) && bytes.length < MAX_BYTES ? this.#gathered(name, bytes) : stub.call(bytes);
    return { call, shardMap: () => stub.shardMap() } satisfies Pick<
      VectorShardRpc,
      "call" | "shardMap"
    > as VectorShardRpc;
  }

  #gathered(name: string, bytes: Uint8Array): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const held = this.#waiting.get(name);
    if (held) held.push({ bytes, resolve, reject });
    else {
      this.#waiting.set(name, [{ bytes, resolve, reject }]);
      this.#schedule(() => this.#flush(name));
    }
    return promise;
  }

  #flush(name: string): void {
    let left = this.#waiting.get(name) ?? [];
    this.#waiting.delete(name);
    while (left.length > 0) {
      let bytes = 0;
      let count = 0;
      while (
        count < Math.min(left.length, MAX_CALLS) &&
        (count === 0 || bytes + left[count]!.bytes.length <= MAX_BYTES)
      )
        bytes += left[count++]!.bytes.length;
      void this.#send(name, left.slice(0, count));
      left = left.slice(count);
    }
  }

  async #send(name: string, sent: readonly Waiting[]): Promise<void> {
    try {
      const stub = super.vectorShard(name);
      const all = sent.map(({ bytes }) => bytes);
      const answers = all.length === 1 ? [await stub.call(all[0]!)] : await stub.callMany(all, true);
      for (const [at, { bytes, resolve, reject }] of sent.entries()) {
        const answer = answers[at];
        if (answer) resolve(answer);
        else stub.call(bytes).then(resolve, reject);
      }
    } catch (error) {
      for (const { reject } of sent) reject(error);
    }
  }
}
