// Key-value calls over the session.
// Guarantees: the same results and errors as over HTTP.
import { clockFromMap, MalformedClock } from "../wire/clock.ts";
import { bodyHashOf } from "./body-hash.ts";
import { JadeError } from "./errors.ts";
import type { KeyValueTransport, PlainOperation, ReadCall, WriteCall } from "./key-value.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Session } from "./session.ts";
import { SessionCall, type SessionCallInput } from "./session-call.ts";
import type { BatchOptions, BatchResult, ClockMap, GetResult, WriteResult } from "./types.ts";
import { fromHex, WriteIdSource, writeIdFrom } from "./write-id.ts";

const encoder = new TextEncoder();

function parsedClock(map: ClockMap | undefined) {
  if (map === undefined) return undefined;
  try {
    return clockFromMap(map);
  } catch (cause) {
    if (cause instanceof MalformedClock) throw new JadeError("malformedClock", cause.message, { cause });
    throw cause;
  }
}

export class SessionKeyValue implements KeyValueTransport {
  readonly #options: ResolvedOptions;
  readonly #session: Session;
  readonly #writeIds: WriteIdSource;

  constructor(options: ResolvedOptions, session: Session) {
    this.#options = options;
    this.#session = session;
    this.#writeIds = new WriteIdSource(options.runtime);
  }

  write(call: WriteCall): Promise<WriteResult> {
    try {
      const value = call.json === undefined ? undefined : encoder.encode(call.json);
      const clock = parsedClock(call.clock);
      if (call.writeId === undefined || call.mayHaveBeenSent === false) return this.#send(call, { value, clock });
      // The user's own id, perhaps used before: the server asks a majority, and refuses it with another body.
      const { op, key } = call;
      return bodyHashOf({ op, key, value, clock }).then((bodyHash) => this.#send(call, { value, clock, bodyHash }));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #send(call: WriteCall, body: Pick<SessionCallInput, "value" | "clock" | "bodyHash">): Promise<WriteResult> {
    return new Promise((resolve, reject) => {
      this.#session.submit(
        new SessionCall({
          op: call.op,
          key: call.key,
          consistency: call.consistency ?? this.#options.consistency,
          writeId: call.writeId === undefined ? this.#writeIds.next() : fromHex(call.writeId),
          isRetry: body.bodyHash !== undefined,
          bodyHash: body.bodyHash,
          clock: body.clock,
          value: body.value,
          isRaw: false,
          deadlineMs: this.#deadlineMs(call.timeoutMs),
          signal: call.signal,
          resolve,
          reject,
        }),
      );
    });
  }

  read(call: ReadCall): Promise<GetResult<unknown>> {
    return new Promise((resolve, reject) => {
      this.#session.submit(
        new SessionCall({
          op: "get",
          key: call.key,
          consistency: call.consistency ?? this.#options.consistency,
          isRaw: call.isRaw,
          deadlineMs: this.#deadlineMs(call.timeoutMs),
          signal: call.signal,
          resolve,
          reject,
        }),
      );
    });
  }

  /** Sent as single calls of one message: the session needs no batch of its own. */
  async batch(operations: readonly PlainOperation[], options: BatchOptions): Promise<BatchResult[]> {
    const { signal, timeoutMs, mayHaveBeenSent } = options;
    const ids = await itemWriteIds(options.writeId, operations.length);
    return Promise.all(
      operations.map(async ({ op, key, json, clock, consistency }, index): Promise<BatchResult> => {
        const level = consistency ?? options.consistency;
        const common = { key, consistency: level, signal, timeoutMs };
        try {
          if (op === "get") return { ok: true, op, result: await this.read({ ...common, isRaw: false }) };
          const writeId = ids?.[index];
          return { ok: true, op, result: await this.write({ ...common, op, json, clock, writeId, mayHaveBeenSent }) };
        } catch (error) {
          if (error instanceof JadeError) return { ok: false, op, key, error };
          throw error;
        }
      }),
    );
  }

  #deadlineMs(timeoutMs: number | undefined): number {
    return this.#options.runtime.now() + (timeoutMs ?? this.#options.timeoutMs);
  }
}

function itemWriteIds(writeId: string | undefined, count: number): Promise<string[]> | undefined {
  if (writeId === undefined) return undefined;
  return Promise.all(Array.from({ length: count }, (_, index) => writeIdFrom(`${writeId}:${index}`)));
}
