// A client's bytes, cut anywhere, as messages; and what is refused.
import { describe, expect, it } from "vitest";
import { MAX_CLIENT_MESSAGE_BYTES } from "./limits.ts";
import { acceptOf, closeFrame, MessageReader, messageFrame, OPCODE, ProtocolError } from "./websocket.ts";

const MASK = [7, 0, 200, 33];

function masked(opcode: number, payload: Buffer, { isFinal = true, reserved = 0 } = {}): Buffer {
  const { length } = payload;
  const head = length < 126 ? [length] : length < 65536 ? [126, length >> 8, length & 255] : undefined;
  const size = head ?? [127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255];
  const first = (isFinal ? 0x80 : 0) | reserved | opcode;
  const bytes = payload.map((byte, at) => byte ^ MASK[at & 3]!);
  return Buffer.concat([Buffer.from([first, 0x80 | size[0]!, ...size.slice(1), ...MASK]), bytes]);
}

const read = (chunks: readonly Buffer[]): string[] => {
  const reader = new MessageReader();
  return chunks.flatMap((chunk) =>
    reader
      .push(Buffer.from(chunk))
      .map(({ opcode, payload }) => `${opcode} ${payload.length} ${payload.subarray(0, 9)}`),
  );
};

describe("messages of a client", () => {
  const bytes = Buffer.concat([
    masked(OPCODE.text, Buffer.from("short")),
    masked(OPCODE.binary, Buffer.alloc(300, "m")),
    masked(OPCODE.text, Buffer.from("in "), { isFinal: false }),
    masked(OPCODE.ping, Buffer.from("between")),
    masked(OPCODE.continuation, Buffer.from("three "), { isFinal: false }),
    masked(OPCODE.continuation, Buffer.from("parts")),
    masked(OPCODE.binary, Buffer.alloc(70_000, "l")),
    masked(OPCODE.close, Buffer.from([3, 232])),
  ]);
  const messages = ["1 5 short", "2 300 mmmmmmmmm", "9 7 between", "1 14 in three ", "2 70000 lllllllll"];

  it("come whole and in order however their bytes are cut", () => {
    const whole = read([bytes]);
    expect(whole.slice(0, 5)).toEqual(messages);
    expect(whole).toHaveLength(6);
    for (const size of [1, 2, 3, 7, 64, 1000]) {
      if (size < 3 && bytes.length > 100_000) continue;
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, (at + 1) * size),
      );
      // One by one only up to the large one: joining its pieces again and again takes long.
      const few = size < 64 ? chunks.slice(0, Math.floor(500 / size)) : chunks;
      expect(read(few)).toEqual(size < 64 ? messages.slice(0, 4) : whole);
    }
  });

  it("[CF-183] are refused when they are unmasked, too large, out of order or of another version", () => {
    const codeOf = (chunk: Buffer): number => {
      try {
        read([chunk]);
      } catch (error) {
        if (error instanceof ProtocolError) return error.code;
      }
      return 0;
    };
    expect(codeOf(messageFrame(OPCODE.text, Buffer.from("unmasked")))).toBe(1002);
    expect(codeOf(masked(OPCODE.continuation, Buffer.from("of nothing")))).toBe(1002);
    expect(codeOf(masked(OPCODE.text, Buffer.from("compressed"), { reserved: 0x40 }))).toBe(1002);
    expect(codeOf(masked(OPCODE.ping, Buffer.alloc(126)))).toBe(1002);
    expect(codeOf(masked(OPCODE.binary, Buffer.alloc(MAX_CLIENT_MESSAGE_BYTES + 1)).subarray(0, 20))).toBe(1009);
    const part = masked(OPCODE.text, Buffer.alloc(MAX_CLIENT_MESSAGE_BYTES / 2), { isFinal: false });
    const rest = masked(OPCODE.continuation, Buffer.alloc(MAX_CLIENT_MESSAGE_BYTES / 2 + 1), { isFinal: false });
    expect(codeOf(Buffer.concat([part, rest]))).toBe(1009);
    expect(codeOf(masked(OPCODE.binary, Buffer.alloc(1000)))).toBe(0);
  });
});

describe("frames to a client", () => {
  it("carry their length in each of the three forms, and a reason that fits", () => {
    expect([...messageFrame(OPCODE.text, Buffer.from("hi"))]).toEqual([0x81, 2, 104, 105]);
    expect([...messageFrame(OPCODE.binary, Buffer.alloc(300)).subarray(0, 4)]).toEqual([0x82, 126, 1, 44]);
    const large = messageFrame(OPCODE.binary, Buffer.alloc(70_000));
    expect([large[1], large.readBigUInt64BE(2), large.length]).toEqual([127, 70_000n, 70_010]);
    const close = closeFrame(1013, "why ".repeat(100));
    expect([close.length, close.readUInt16BE(2)]).toEqual([127, 1013]);
    // RFC 6455, section 1.3.
    expect(acceptOf("dGhlIHNhbXBsZSBub25jZQ==")).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  });
});
