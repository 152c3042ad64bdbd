// A whole keyspace at one revision, page by page: what snapshots of either form are made of.
// Guarantees: one page in memory; whoever stops reading frees the keyspace. Must not: know a format.
import type { SnapshotAnswer, SnapshotAsk } from "../../objects/keyspace-snapshots.ts";
import { withDeadline } from "../../objects/with-deadline.ts";
import type { SnapshotBegin, SnapshotPage } from "../config/snapshot-source.ts";
import { isErrorCode, PublicError } from "../wire/error-codes.ts";
import type { Call } from "./call.ts";
import type { KeyspaceName } from "./config-call.ts";
import { COORDINATOR_DEADLINE_MS } from "./limits.ts";

type AnswerTo<K extends SnapshotAnswer["kind"]> = Extract<SnapshotAnswer, { kind: K }>;

/** Throws PublicErrors; what the call itself met passes as it is. */
export async function askSnapshots<K extends SnapshotAnswer["kind"]>(
  call: Call,
  { tenant, namespace }: KeyspaceName,
  ask: SnapshotAsk & { readonly answer?: K },
): Promise<AnswerTo<K>> {
  const work = call.services.stubs.configKeyspace(tenant, namespace).snapshots(ask);
  const answer = await withDeadline(work, COORDINATOR_DEADLINE_MS, "ConfigKeyspace");
  if (answer.kind !== "error") return answer as AnswerTo<K>;
  throw new PublicError(isErrorCode(answer.code) ? answer.code : "internal", answer.message, answer.details);
}

export class SnapshotReading {
  readonly #call: Call;
  readonly #keyspace: KeyspaceName;
  readonly begin: SnapshotBegin;

  private constructor(call: Call, keyspace: KeyspaceName, begin: SnapshotBegin) {
    this.#call = call;
    this.#keyspace = keyspace;
    this.begin = begin;
  }

  /** `revision`: 0 = the present. */
  static async begin(call: Call, keyspace: KeyspaceName, revision = 0): Promise<SnapshotReading> {
    const { begin } = await reached(call, () => askSnapshots<"begun">(call, keyspace, { kind: "begin", revision }));
    return new SnapshotReading(call, keyspace, begin);
  }

  async *keys(): AsyncGenerator<SnapshotPage> {
    const { id } = this.begin;
    let after = "";
    for (;;) {
      const page = await this.#page({ kind: "keys", id, after });
      yield page;
      if (!page.next) return;
      after = page.next.key;
    }
  }

  /** Of the log. */
  async *records(): AsyncGenerator<SnapshotPage> {
    const { id } = this.begin;
    let after = 0;
    for (;;) {
      const page = await this.#page({ kind: "records", id, after });
      yield page;
      if (!page.next) return;
      after = page.next.seq;
    }
  }

  /** Frees what the keyspace keeps for it; without it that goes by time. */
  async end(): Promise<void> {
    await askSnapshots(this.#call, this.#keyspace, { kind: "end", id: this.begin.id }).catch(() => undefined);
  }

  async #page(ask: SnapshotAsk): Promise<SnapshotPage> {
    return (await reached(this.#call, () => askSnapshots<"page">(this.#call, this.#keyspace, ask))).page;
  }
}

async function reached<T>(call: Call, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof PublicError) throw error;
    const { requestId, traceId, route } = call;
    call.services.log.warn("keyspace call failed", { requestId, traceId, route }, error);
    throw new PublicError("unavailable", "the keyspace did not answer");
  }
}

/** A stream that makes each piece when it is asked for. A failure breaks the connection, so that it is noticed. */
export function streamOf(call: Call, pieces: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { value, done } = await pieces.next();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          const { requestId, traceId, route } = call;
          call.services.log.warn("snapshot cut off", { requestId, traceId, route }, error);
          controller.error(error);
        }
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 1 },
  );
}
