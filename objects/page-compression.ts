// Pages of log between objects, compressed where it pays. A page: one byte (0 as it is, 1 deflate-raw), bytes.
// Guarantees: round trip; a page that would unpack to more than its bound throws. Must not: compress what does not shrink again and again.
import { COMPRESS_FROM_BYTES, COMPRESS_PAUSE_PAGES, COMPRESS_SHARE } from "../src/vector/replica/limits.ts";

const RAW = 0;
const DEFLATED = 1;
const FORMAT = "deflate-raw";

export class PageCompression {
  /** Pages that are still sent as they are. */
  #pause = 0;

  async pack(bytes: Uint8Array): Promise<Uint8Array> {
    if (bytes.length < COMPRESS_FROM_BYTES || this.#pause-- > 0) return tagged(RAW, bytes);
    const packed = await through(new CompressionStream(FORMAT), bytes, Number.POSITIVE_INFINITY);
    const isSmaller = packed.length <= bytes.length * COMPRESS_SHARE;
    this.#pause = isSmaller ? 0 : COMPRESS_PAUSE_PAGES;
    return isSmaller ? tagged(DEFLATED, packed) : tagged(RAW, bytes);
  }
}

export async function unpacked(page: Uint8Array, mostBytes: number): Promise<Uint8Array> {
  const bytes = page.subarray(1);
  if (page[0] === RAW) return bytes;
  if (page[0] !== DEFLATED) throw new Error(`a page of form ${page[0]}`);
  return await through(new DecompressionStream(FORMAT), bytes, mostBytes);
}

async function through(
  stream: CompressionStream | DecompressionStream,
  bytes: Uint8Array,
  mostBytes: number,
): Promise<Uint8Array> {
  const writer = stream.writable.getWriter();
  // Its errors are the reader's too.
  void writer
    .write(bytes as Uint8Array<ArrayBuffer>)
    .then(
      () => writer.close(),
      () => undefined,
    )
    .catch(() => undefined);
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = (stream.readable as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > mostBytes) {
      void reader.cancel().catch(() => undefined);
      throw new Error(`a page unpacks to more than ${mostBytes} bytes`);
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function tagged(form: number, bytes: Uint8Array): Uint8Array {
  const page = new Uint8Array(bytes.length + 1);
  page[0] = form;
  page.set(bytes, 1);
  return page;
}
