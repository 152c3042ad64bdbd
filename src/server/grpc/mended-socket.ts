// The start of a connection, before HTTP/2 reads it: clients of etcd 3.4 that dial one endpoint by its URL (`etcdctl endpoint status`)
// send that URL as `:authority`, with slashes, which RFC 9113 does not allow and Node's parser ends the call for. So the bytes up to the first
// request are held, mended, and given back to the socket, which HTTP/2 then reads by itself: a stream of our own in between costs a fifth of a call.
// Guarantees: changes nothing but the two slashes of `http://` or `https://` at the start of the first request's `:authority`; bytes
// keep their number, so HPACK's tables on both sides agree. Must not: read further than the first request.
//
// Some clients send no request before they have the server's SETTINGS. They get empty ones at once, and the acknowledgement of these is taken out:
// HTTP/2's own follow.
import type { Socket } from "node:net";

const FRAME_HEADER_BYTES = 9;
const FRAME = { headers: 1, priority: 2, settings: 4, windowUpdate: 8 } as const;
/** What comes before the first request. */
const BEFORE: ReadonlySet<number> = new Set([FRAME.priority, FRAME.settings, FRAME.windowUpdate]);
const ACK = 1;
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const EMPTY_SETTINGS = Buffer.from([0, 0, 0, FRAME.settings, 0, 0, 0, 0, 0]);
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

/** What a connection says up to its first request. */
export class ConnectionStart {
  #bytes: Buffer = Buffer.alloc(0);
  /** Up to here frames were looked at. */
  #at = PREFACE.length;
  #hasRequest = false;
  #isAckDue = false;

  /** The bytes to be read, when there is no more to wait for. */
  take(chunk: Buffer): Buffer | undefined {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const length = Math.min(this.#bytes.length, PREFACE.length);
    // No HTTP/2: to be refused by who knows how.
    if (!this.#bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) return this.#bytes;
    while (this.#look());
    const isOver = this.#hasRequest && !this.#isAckDue;
    return isOver || this.#bytes.length > MAX_LOOK_BYTES ? this.#bytes : undefined;
  }

  /** Empty SETTINGS were sent. */
  settingsSent(): void {
    this.#isAckDue = true;
  }

  /** One frame; false = there is none that is whole, or nothing to look for. */
  #look(): boolean {
    const [bytes, at] = [this.#bytes, this.#at];
    if ((this.#hasRequest && !this.#isAckDue) || bytes.length < at + FRAME_HEADER_BYTES) return false;
    const end = at + FRAME_HEADER_BYTES + bytes.readUIntBE(at, 3);
    const type = bytes[at + 3]!;
    if (bytes.length < end) return false;
    this.#at = end;
    if (type === FRAME.settings && this.#isAckDue && (bytes[at + 4]! & ACK) !== 0) {
      this.#isAckDue = false;
      this.#bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
      this.#at = at;
    } else if (!this.#hasRequest && !BEFORE.has(type)) {
      this.#hasRequest = true;
      if (type === FRAME.headers) mendAuthority(bytes.subarray(at + FRAME_HEADER_BYTES, end));
    }
    return true;
  }
}

/** Calls back with the socket when HTTP/2 may read it. Until then its owner ends it. */
export function mendStart(socket: Socket, ready: (socket: Socket) => void): void {
  const start = new ConnectionStart();
  let isFirst = true;
  const onData = (chunk: Buffer): void => {
    const bytes = start.take(chunk);
    if (bytes) {
      socket.off("data", onData);
      socket.pause();
      socket.unshift(bytes);
      ready(socket);
    } else if (isFirst) {
      start.settingsSent();
      socket.write(EMPTY_SETTINGS);
    }
    isFirst = false;
  };
  socket.on("error", () => undefined); // "close" follows
  socket.on("data", onData);
}
