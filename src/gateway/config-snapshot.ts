// GET and PUT /v1/config/snapshot: a whole keyspace at one revision as a checksummed binary stream, and its restore.
// Guarantees: one block in memory either way; a damaged or cut-off snapshot restores nothing; a repeated restore is applied once. Must not:
// decode values.

import { hexOf } from "../access/api-key.ts";
import type { Restored } from "../config/restore.ts";
import {
  DamagedSnapshot,
  SNAPSHOT_LEASES_PER_BLOCK,
  SNAPSHOT_TYPE,
  type SnapshotBlock,
  type SnapshotEnd,
  SnapshotReader,
  SnapshotWriter,
} from "../wire/config-snapshot.ts";
import { PublicError } from "../wire/error-codes.ts";
import { apiHeaders, success } from "./answers.ts";
import type { Call } from "./call.ts";
import { type ConfigInput, configRoute } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { invalidRequest } from "./issues.ts";
import { RESTORED_ASK_MS, RESTORED_ASKS } from "./limits.ts";
import type { Route } from "./route.ts";
import { askSnapshots, SnapshotReading, streamOf } from "./snapshot-reading.ts";

const SNAPSHOT = "/v1/config/snapshot";
/** Bytes of the write id that name a restore: a safe integer. */
const TOKEN_BYTES = 6;

async function* snapshotOf(reading: SnapshotReading, takenAtMs: number, namespace: string) {
  try {
    const writer = new SnapshotWriter();
    const { revision, term, compactedRevision, leases } = reading.begin;
    yield writer.head({ revision, term, compactedRevision, takenAtMs, namespace });
    for (let at = 0; at < leases.length; at += SNAPSHOT_LEASES_PER_BLOCK)
      yield writer.leases(leases.slice(at, at + SNAPSHOT_LEASES_PER_BLOCK));
    for await (const { payload, count } of reading.keys()) if (count > 0) yield writer.keys(payload, count);
    yield writer.end();
  } finally {
    await reading.end();
  }
}

const take = configRoute({
  method: "get",
  path: SNAPSHOT,
  summary: `The state of a namespace at one revision, leases included, as a checksummed stream (${SNAPSHOT_TYPE})`,
  scope: "read-only",
  query: schemas.namespaceQuery,
  errors: ["overloaded"],
  async handle(call, { keyspace }) {
    const reading = await SnapshotReading.begin(call, keyspace);
    const headers = apiHeaders(call, { "jade-revision": String(reading.begin.revision) }, SNAPSHOT_TYPE);
    return new Response(streamOf(call, snapshotOf(reading, call.services.now(), keyspace.namespace)), { headers });
  },
});

type RestoreInput = ConfigInput<ReturnType<typeof schemas.restoreQuery.parse>, unknown>;

/** One restore on its way. */
class Restoring {
  readonly #call: Call;
  readonly #input: RestoreInput;
  readonly token: number;
  /** This request was answered before, and its answer lost. */
  #done: Restored | undefined;
  hasBegun = false;

  constructor(call: Call, input: RestoreInput) {
    this.#call = call;
    this.#input = input;
    this.token = call.writeId!.subarray(0, TOKEN_BYTES).reduce((number, byte) => number * 256 + byte, 0) + 1;
  }

  async take(block: SnapshotBlock): Promise<void> {
    const { token } = this;
    if (block.kind === "head") {
      this.#done = await this.#restored();
      this.hasBegun = this.#done === undefined;
      if (this.hasBegun) await this.#ask({ kind: "beginRestore", token, revision: block.head.revision });
    } else if (block.kind !== "end" && this.hasBegun) {
      const kind = block.kind === "leases" ? "restoreLeases" : "restoreKeys";
      await this.#ask({ kind, token, payload: block.payload });
    }
  }

  async finish(end: SnapshotEnd): Promise<Restored> {
    if (this.#done) {
      if (this.#done.checksum === end.checksum) return this.#done;
      throw new PublicError("idempotencyKeyReused", "this write id was used before with another snapshot");
    }
    const { token } = this;
    try {
      await this.#ask({ kind: "finish", token, end, leastRevision: this.#input.query.aboveRevision });
    } catch (error) {
      if (error instanceof PublicError) throw error;
      // The keyspace starts anew after it.
    }
    for (let asks = 0; asks < RESTORED_ASKS; asks++) {
      const restored = await this.#restored().catch(() => undefined);
      if (restored) return restored;
      await new Promise((resolve) => setTimeout(resolve, RESTORED_ASK_MS));
    }
    const message = "the keyspace did not answer: the snapshot may or may not have been restored";
    throw new PublicError("unknownOutcome", message, { writeId: hexOf(this.#call.writeId!) });
  }

  async giveUp(): Promise<void> {
    if (this.hasBegun) await this.#ask({ kind: "giveUp", token: this.token }).catch(() => undefined);
  }

  async #restored(): Promise<Restored | undefined> {
    const { keyspace } = this.#input;
    const { restored } = await askSnapshots<"restored">(this.#call, keyspace, { kind: "restored", token: this.token });
    return restored;
  }

  #ask(ask: Parameters<typeof askSnapshots>[2]) {
    return askSnapshots(this.#call, this.#input.keyspace, ask);
  }
}

/** The body's pieces. Throws DamagedSnapshot where the client stopped. */
async function* piecesOf(call: Call): AsyncGenerator<Uint8Array> {
  const { body } = call.request;
  if (!body) return;
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    let piece: ReadableStreamReadResult<Uint8Array>;
    try {
      piece = await reader.read();
    } catch {
      throw new DamagedSnapshot("the body ended before its announced length");
    }
    if (piece.done) return;
    yield piece.value;
  }
}

async function restoreFrom(call: Call, input: RestoreInput): Promise<Restored> {
  const restoring = new Restoring(call, input);
  const reader = new SnapshotReader();
  try {
    for await (const piece of piecesOf(call)) for (const block of reader.take(piece)) await restoring.take(block);
    return await restoring.finish(reader.finish());
  } catch (error) {
    const isUnknown = error instanceof PublicError && error.code === "unknownOutcome";
    if (!isUnknown) await restoring.giveUp();
    if (error instanceof PublicError) throw error;
    if (error instanceof DamagedSnapshot)
      throw invalidRequest([{ path: "body", message: `${error.message}; nothing was restored` }]);
    const { requestId, traceId, route } = call;
    call.services.log.warn("keyspace call failed", { requestId, traceId, route }, error);
    throw new PublicError("unavailable", "the keyspace did not answer; nothing was restored");
  }
}

const restore = configRoute({
  method: "put",
  path: SNAPSHOT,
  summary:
    "Replace a namespace by a snapshot, in one step: keys keep their revisions, versions and leases; revisions of before are compacted",
  scope: "admin",
  query: schemas.restoreQuery,
  bodyType: SNAPSHOT_TYPE,
  streamsBody: true,
  data: schemas.restoredShape,
  errors: ["unsupportedMediaType", "unknownOutcome", "idempotencyKeyReused", "quotaExceeded", "conflict"],
  async handle(call, input) {
    const { revision, snapshotRevision, keys, leases } = await restoreFrom(call, input);
    const data = { namespace: input.keyspace.namespace, revision, snapshotRevision, keys, leases };
    return success(call, { message: "restored", data });
  },
});

export const configSnapshotRoutes: readonly Route[] = [take, restore];
