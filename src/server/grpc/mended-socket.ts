// A connection as HTTP/2 reads it, with one thing mended: clients of etcd 3.4 that dial one endpoint by its URL (`etcdctl endpoint status`)
// send that URL as `:authority`, with slashes, which RFC 9113 does not allow and Node's parser ends the call for.
// Guarantees: changes nothing but the two slashes of `http://` or `https://` at the start of the first request's `:authority`; bytes
// keep their number, so HPACK's tables on both sides agree. Must not: read further than the first HEADERS frame.
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
const HEADERS = 1;
/** More than a client sends before its first request. Bytes. */
const MAX_LOOK_BYTES = 256 * 1024;

/**
 * `:authority` as a literal with the name's index 1 (RFC 7541), Huffman-coded, from behind its length. `/` has the code 011000, `-` the code
 * 010110: both of 6 bits.
 */
const SCHEMES = [
  // http:// = 9d 29 ae e3 0c 0…
  { start: [0x9d, 0x29, 0xae, 0xe3], bits: 29 },
  // https:// = 9d 29 ad 17 18 60
  { start: [0x9d, 0x29, 0xad, 0x17], bits: 34 },
] as const;
const SLASHES = 0b011000_011000;
const DASHES = 0b010110_010110;
const LITERALS: ReadonlySet<number> = new Set([0x41, 0x01, 0x11]);
const HUFFMAN = 0x80;

/** 12 bits of `bytes` from a bit on. */
function bitsAt(bytes: Uint8Array, at: number): number {
  let bits = 0;
  for (let i = 0; i < 12; i++) bits = (bits << 1) | (((bytes[(at + i) >> 3] ?? 0) >> (7 - ((at + i) & 7))) & 1);
  return bits;
}

function putBits(bytes: Uint8Array, at: number, bits: number): void {
  for (let i = 0; i < 12; i++) {
    const mask = 0x80 >> ((at + i) & 7);
    const byte = (at + i) >> 3;
    bytes[byte] = (bits >> (11 - i)) & 1 ? bytes[byte]! | mask : bytes[byte]! & ~mask;
  }
}

/** In place, in the block of one HEADERS frame. */
export function mendAuthority(block: Uint8Array): void {
  for (let at = 0; at + 8 <= block.length; at++) {
    if (!LITERALS.has(block[at]!) || (block[at + 1]! & HUFFMAN) === 0) continue;
    const value = block.subarray(at + 2);
    for (const { start, bits } of SCHEMES) {
      if (!start.every((byte, index) => value[index] === byte) || bitsAt(value, bits) !== SLASHES) continue;
      putBits(value, bits, DASHES);
      return;
    }
  }
}

/** Finds the first HEADERS frame in what arrives; `done` when there is nothing more to look for. */
export class AuthorityMender {
  done = false;
  #held: Buffer = Buffer.alloc(0);
  #passed = 0;

  /** Gives what can go on; may hold back the start of a frame. */
  take(chunk: Buffer): Buffer {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    let at = this.#passed === 0 ? PREFACE_BYTES : 0;
    while (bytes.length >= at + FRAME_HEADER_BYTES) {
      const end = at + FRAME_HEADER_BYTES + bytes.readUIntBE(at, 3);
      if (bytes[at + 3] === HEADERS || this.#passed + end > MAX_LOOK_BYTES) {
        if (bytes.length < end && end - at < MAX_LOOK_BYTES) break;
        mendAuthority(bytes.subarray(at + FRAME_HEADER_BYTES, end));
        this.done = true;
        return bytes;
      }
      if (bytes.length < end) break;
      at = end;
    }
    if (bytes.length < PREFACE_BYTES) at = 0;
    at = Math.min(at, bytes.length);
    this.#held = bytes.subarray(at);
    this.#passed += at;
    return bytes.subarray(0, at);
  }
}

export class MendedSocket extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    const mender = new AuthorityMender();
    socket.on("data", (chunk: Buffer) => {
      const bytes = mender.done ? chunk : mender.take(chunk);
      if (bytes.length > 0 && !this.push(bytes)) socket.pause();
    });
    socket.once("end", () => this.push(null));
    socket.once("error", (error) => this.destroy(error));
    socket.once("close", () => this.destroy());
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    if (this.#socket.write(chunk)) done();
    else this.#socket.once("drain", done);
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: () => void): void {
    this.#socket.cork();
    let hasRoom = true;
    for (const { chunk } of chunks) hasRoom = this.#socket.write(chunk);
    this.#socket.uncork();
    if (hasRoom) done();
    else this.#socket.once("drain", done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
