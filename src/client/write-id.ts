// Write ids: 128 bits that make a write apply once however often it is sent (DESIGN 3).
// Guarantees: ids are never reused; the hex and the byte form round-trip.
import { WRITE_ID_BYTES } from "../wire/session.ts";
import type { ClientRuntime } from "./runtime.ts";

const POOL_BYTES = 256 * WRITE_ID_BYTES;
const HEX_ID = /^[0-9a-f]{32}$/i;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/** Throws TypeError unless `id` is 32 hex digits. */
export function checkedWriteId(id: string): string {
  if (typeof id !== "string" || !HEX_ID.test(id)) {
    throw new TypeError(
      `a write id has 32 hex digits, got ${JSON.stringify(id)?.slice(0, 60)}; writeIdFrom(text) makes one of any text`,
    );
  }
  return id.toLowerCase();
}

export function fromHex(id: string): Uint8Array {
  const hex = checkedWriteId(id);
  const bytes = new Uint8Array(WRITE_ID_BYTES);
  for (let i = 0; i < WRITE_ID_BYTES; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** A write id that follows from a text (a file and a line, an order number): the same text, the same id. SHA-256, cut. */
export async function writeIdFrom(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return toHex(new Uint8Array(hash, 0, WRITE_ID_BYTES));
}

/** Makes random ids; asks the system for randomness once in 256 ids. */
export class WriteIdSource {
  readonly #runtime: ClientRuntime;
  #pool = new Uint8Array(0);
  #offset = 0;

  constructor(runtime: ClientRuntime) {
    this.#runtime = runtime;
  }

  next(): Uint8Array {
    if (this.#offset >= this.#pool.length) {
      // A new array each time: ids handed out are views into the old one.
      this.#pool = new Uint8Array(POOL_BYTES);
      this.#runtime.fillRandom(this.#pool);
      this.#offset = 0;
    }
    const id = this.#pool.subarray(this.#offset, this.#offset + WRITE_ID_BYTES);
    this.#offset += WRITE_ID_BYTES;
    return id;
  }

  nextHex(): string {
    return toHex(this.next());
  }
}
