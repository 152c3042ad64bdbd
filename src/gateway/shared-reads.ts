// Reads of shards by requests of one isolate: those that come while an RPC to their shard is under way go together in the next one. (An RPC
// for each costs more than the way through an index.)
// Guarantees: each read gets its own answer, or fails by its deadline or with the RPC that carried it; none waits long for an RPC under way,
// nor for a request that was cut off. Must not: carry writes.
//
// Answers are handed to other requests as objects/mailbox.ts does it: its header says why promises are made as they are.
import type { VectorShardRpc } from "../../objects/vector-rpc.ts";
import { DeadlineExceeded, withDeadline } from "../../objects/with-deadline.ts";

/** Reads and bytes of one RPC; what is beyond goes in the next. */
const MAX_READS = 64;
const MAX_BYTES = 4 * 1024 * 1024;
/** Who has waited so long for the RPC under way sends one. Ms. */
const PATIENCE_MS = 25;
const TARGET = "VectorShard";

/** What a read that waits is told in place of its answer: to send the next RPC, or to ask alone. */
type Told = Uint8Array | "send" | "alone";

interface Waiting {
  readonly bytes: Uint8Array;
  readonly tell: (told: Told) => void;
  readonly fail: (error: unknown) => void;
}

/** Of one shard. */
interface Line {
  waiting: Waiting[];
  /** The RPC that is waited for: the last one sent, or one that was left to a read that has not sent it yet. */
  current: object | undefined;
}

export interface SharedReadOptions {
  /** Of the request's own. */
  readonly stub: () => Pick<VectorShardRpc, "call" | "callMany">;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** For the shard's answer. */
  readonly deadlineMs: number;
}

export class SharedReads {
  /** By the shard's name; one that has nothing to do is forgotten. */
  readonly #lines = new Map<string, Line>();

  /** @throws DeadlineExceeded, or what the RPC threw */
  async read(name: string, bytes: Uint8Array, options: SharedReadOptions): Promise<Uint8Array> {
    const { stub, deadlineMs } = options;
    const line = this.#lineOf(name);
    const told = line.current === undefined ? "send" : await wait(line, bytes, deadlineMs);
    if (typeof told !== "string") return told;
    const answer = told === "send" && (await withDeadline(this.#send(name, bytes, options), deadlineMs, TARGET));
    return answer || (await withDeadline(stub().call(bytes), deadlineMs, TARGET));
  }

  #lineOf(name: string): Line {
    const held = this.#lines.get(name);
    if (held) return held;
    const line = { waiting: [], current: undefined };
    this.#lines.set(name, line);
    return line;
  }

  /** Sends it with those that wait. Null = it is to be asked alone. */
  #send(name: string, own: Uint8Array, { stub, waitUntil }: SharedReadOptions): Promise<Uint8Array | null> {
    const line = this.#lineOf(name);
    const others = take(line, own.length);
    const current = {};
    line.current = current;
    const work = others.length === 0 ? stub().call(own) : sendAll(own, others, stub());
    const ended = work.finally(() => {
      // One that was given up has nothing to hand on.
      if (line.current === current) this.#handOn(name, line);
    });
    // The others' answers must come though this client leaves.
    if (others.length > 0) waitUntil(ended.catch(() => undefined));
    return ended;
  }

  #handOn(name: string, line: Line): void {
    const next = line.waiting.shift();
    line.current = next;
    if (next) next.tell("send");
    else this.#lines.delete(name);
  }
}

/** Those that go with one of `ownBytes`. */
function take(line: Line, ownBytes: number): readonly Waiting[] {
  let bytes = ownBytes;
  const beyond = line.waiting.findIndex((waiting, at) => {
    bytes += waiting.bytes.length;
    return at + 1 >= MAX_READS || bytes > MAX_BYTES;
  });
  return line.waiting.splice(0, beyond < 0 ? line.waiting.length : beyond);
}

async function sendAll(
  own: Uint8Array,
  others: readonly Waiting[],
  stub: Pick<VectorShardRpc, "callMany">,
): Promise<Uint8Array | null> {
  try {
    const [first, ...rest] = await stub.callMany([own, ...others.map(({ bytes }) => bytes)], true);
    for (const [at, { tell }] of others.entries()) tell(rest[at] ?? "alone");
    return first ?? null;
  } catch (error) {
    for (const { fail } of others) fail(error);
    throw error;
  }
}

async function wait(line: Line, bytes: Uint8Array, deadlineMs: number): Promise<Told> {
  const { promise, resolve: tell, reject: fail } = Promise.withResolvers<Told>();
  const own: Waiting = { bytes, tell, fail };
  line.waiting.push(own);
  const late = (): void => fail(new DeadlineExceeded(`${TARGET} did not answer within ${deadlineMs} ms`));
  const impatient = (): void => {
    const at = line.waiting.indexOf(own);
    if (at < 0) {
      timer = setTimeout(late, deadlineMs);
      return;
    }
    line.waiting.splice(at, 1);
    tell("send");
  };
  // Also keeps the request alive: one that waits for nothing of its own is taken for hung.
  let timer = setTimeout(impatient, PATIENCE_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
