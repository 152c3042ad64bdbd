// The server's end of WebSocket (RFC 6455), as much of it as watches need: whole frames out, made once for all that get them; messages in.
// Guarantees: a client's message is bounded, masked and whole before it is passed on. Must not: hold a socket.
import { createHash } from "node:crypto";
import { MAX_CLIENT_MESSAGE_BYTES } from "./limits.ts";

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MAX_CONTROL_BYTES = 125;

/** `Sec-WebSocket-Accept` */
export function acceptOf(key: string): string {
  return createHash("sha1")
    .update(key + GUID)
    .digest("base64");
}

/** One unmasked frame that is a whole message. */
export function messageFrame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const head = length < 126 ? 2 : length < 0x10000 ? 4 : 10;
  const frame = Buffer.allocUnsafeSlow(head + length);
  frame[0] = 0x80 | opcode;
  if (head === 2) frame[1] = length;
  else if (head === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.set(payload, head);
  return frame;
}

export function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason).subarray(0, MAX_CONTROL_BYTES - 2);
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code, 0);
  payload.set(text, 2);
  return messageFrame(OPCODE.close, payload);
}

/** What a client did against the protocol, as a close code and its reason. */
export class ProtocolError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Message {
  readonly opcode: number;
  readonly payload: Buffer;
}

interface Frame extends Message {
  readonly isFinal: boolean;
  /** Behind it in the buffer. */
  readonly end: number;
}

/** Cuts what a client sends into messages. Holds nothing between them. */
export class MessageReader {
  #held: Buffer | undefined;
  #fragments: Message[] | undefined;

  /** Throws ProtocolError. */
  push(chunk: Buffer): readonly Message[] {
    let bytes = this.#held ? Buffer.concat([this.#held, chunk]) : chunk;
    const messages: Message[] = [];
    for (let frame = frameAt(bytes); frame; frame = frameAt(bytes)) {
      bytes = bytes.subarray(frame.end);
      const message = frame.opcode >= OPCODE.close ? frame : this.#whole(frame);
      if (message) messages.push(message);
    }
    this.#held = bytes.length === 0 ? undefined : bytes;
    return messages;
  }

  #whole(frame: Frame): Message | undefined {
    const isFirst = frame.opcode !== OPCODE.continuation;
    if (isFirst === (this.#fragments !== undefined)) throw new ProtocolError(1002, "fragments out of order");
    if (isFirst && frame.isFinal) return frame;
    const fragments = [...(this.#fragments ?? []), frame];
    const size = fragments.reduce((sum, { payload }) => sum + payload.length, 0);
    if (size > MAX_CLIENT_MESSAGE_BYTES) throw tooLarge(size);
    this.#fragments = frame.isFinal ? undefined : fragments;
    if (!frame.isFinal) return undefined;
    return { opcode: fragments[0]!.opcode, payload: Buffer.concat(fragments.map(({ payload }) => payload)) };
  }
}

/** Unmasks in place; undefined = it is not whole yet. */
function frameAt(bytes: Buffer): Frame | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes[1]! & 0x7f;
  const opcode = bytes[0]! & 0x0f;
  if ((bytes[0]! & 0x70) !== 0) throw new ProtocolError(1002, "a reserved bit is set");
  if ((bytes[1]! & 0x80) === 0) throw new ProtocolError(1002, "a client's frame is not masked");
  if (opcode >= OPCODE.close && short > MAX_CONTROL_BYTES) throw new ProtocolError(1002, "a control frame is too long");
  const head = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < head + 4) return undefined;
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (length > MAX_CLIENT_MESSAGE_BYTES) throw tooLarge(length);
  const start = head + 4;
  const end = start + length;
  if (bytes.length < end) return undefined;
  const payload = bytes.subarray(start, end);
  for (let at = 0; at < length; at++) payload[at] = payload[at]! ^ bytes[head + (at & 3)]!;
  return { opcode, payload, end, isFinal: (bytes[0]! & 0x80) !== 0 };
}

function tooLarge(bytes: number): ProtocolError {
  return new ProtocolError(1009, `a message has ${bytes} bytes, the limit is ${MAX_CLIENT_MESSAGE_BYTES}`);
}
