// What the first bytes of an image say: its format and size, before anything is decoded.
// Guarantees: what is no PNG or JPEG, is cut off before its size, or is larger than the bounds is refused; bounded work. Must not: decode.
import { MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE, MAX_JPEG_SCANS } from "../limits.ts";
import { invalid } from "../refusal.ts";

export interface ImageHeader {
  readonly format: "png" | "jpeg";
  readonly width: number;
  readonly height: number;
  /** PNG: bits of a sample, and samples of a pixel as they are stored. */
  readonly depth: number;
  readonly channels: number;
  readonly isInterlaced: boolean;
  readonly hasPalette: boolean;
}

const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const IHDR = 0x49484452;
/** By PNG's colour type. */
const PNG_CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const cut = () => invalid("", "is an image that was cut off");

/** @throws EmbeddingRefusal */
export function imageHeader(bytes: Uint8Array): ImageHeader {
  if (bytes.length > MAX_IMAGE_BYTES)
    throw invalid("", `has ${bytes.length} bytes; the limit is ${MAX_IMAGE_BYTES}`, {
      value: bytes.length,
      limit: MAX_IMAGE_BYTES,
    });
  if (PNG_SIGNATURE.every((byte, at) => bytes[at] === byte)) return within(pngHeader(bytes));
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return within(jpegHeader(bytes));
  throw invalid("", "is neither a PNG nor a JPEG image");
}

function within(header: ImageHeader): ImageHeader {
  const { width, height } = header;
  if (width < 1 || height < 1) throw invalid("", `is an image of ${width} x ${height} pixels`);
  if (Math.max(width, height) > MAX_IMAGE_SIDE)
    throw invalid("", `is an image of ${width} x ${height} pixels; a side has at most ${MAX_IMAGE_SIDE}`, {
      value: Math.max(width, height),
      limit: MAX_IMAGE_SIDE,
    });
  if (width * height > MAX_IMAGE_PIXELS)
    throw invalid(
      "",
      `is an image of ${width} x ${height} = ${width * height} pixels; the limit is ${MAX_IMAGE_PIXELS}`,
      {
        value: width * height,
        limit: MAX_IMAGE_PIXELS,
      },
    );
  return header;
}

function pngHeader(bytes: Uint8Array): ImageHeader {
  if (bytes.length < 33) throw cut();
  const view = viewOf(bytes);
  const channels = PNG_CHANNELS[bytes[25]!];
  if (view.getUint32(8) !== 13 || view.getUint32(12) !== IHDR || channels === undefined)
    throw invalid("", "is a PNG image whose header is wrong");
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const depth = bytes[24]!;
  const isInterlaced = bytes[28] === 1;
  if (isInterlaced && depth < 8)
    throw invalid("", `is an interlaced PNG image of ${depth} bits a sample; save it without interlacing`);
  return { format: "png", width, height, depth, channels, isInterlaced, hasPalette: bytes[25] === 3 };
}

/** Frames that libjpeg decodes: baseline, extended, progressive. */
const FRAMES = new Set([0xc0, 0xc1, 0xc2]);
const START_OF_SCAN = 0xda;

function jpegHeader(bytes: Uint8Array): ImageHeader {
  const view = viewOf(bytes);
  let frame: ImageHeader | undefined;
  let scans = 0;
  for (let at = 2; at + 4 <= bytes.length; ) {
    if (bytes[at] !== 0xff) throw invalid("", "is a JPEG image whose parts are wrong");
    const marker = bytes[at + 1]!;
    if (marker === 0xff) at++;
    else if (marker === 0xd9) break;
    else {
      if (FRAMES.has(marker)) {
        // A decoder might believe the other one.
        if (frame) throw invalid("", "is a JPEG image of several frames");
        frame = jpegFrame(bytes, at + 4);
      } else if (marker >= 0xc3 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc)
        throw invalid("", "is a JPEG image of a kind that is not decoded: baseline and progressive ones are");
      at += 2 + Math.max(2, view.getUint16(at + 2));
      if (marker !== START_OF_SCAN) continue;
      if (!frame) throw invalid("", "is a JPEG image whose parts are wrong");
      // Each scan of a progressive image goes over all of it.
      if (++scans > MAX_JPEG_SCANS)
        throw invalid("", `is a JPEG image of more than ${MAX_JPEG_SCANS} scans`, { limit: MAX_JPEG_SCANS });
      at = behindScan(bytes, at);
    }
  }
  if (!frame || scans === 0) throw cut();
  return frame;
}

/** The next marker behind the numbers of a scan. */
function behindScan(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const marker = bytes[at + 1];
    if (marker === undefined) break;
    if (marker !== 0 && marker !== 0xff && !(marker >= 0xd0 && marker <= 0xd7)) return at;
  }
  throw cut();
}

function jpegFrame(bytes: Uint8Array, at: number): ImageHeader {
  if (at + 6 > bytes.length) throw cut();
  const view = viewOf(bytes);
  const channels = bytes[at + 5]!;
  if (channels !== 1 && channels !== 3)
    throw invalid("", `is a JPEG image of ${channels} colours; grey and three colours are decoded, CMYK is not`);
  const size = { width: view.getUint16(at + 3), height: view.getUint16(at + 1) };
  return { format: "jpeg", ...size, depth: bytes[at]!, channels, isInterlaced: false, hasPalette: false };
}

/** Bytes that the pixels of a PNG come to when they are inflated, with a byte before each row. At least. */
export function inflatedBytes({ width, height, depth, channels, isInterlaced }: ImageHeader): number {
  const of = (columns: number, rows: number): number =>
    columns === 0 ? 0 : rows * (1 + Math.ceil((columns * channels * depth) / 8));
  if (!isInterlaced) return of(width, height);
  // Adam7's passes: first column and row, and how far apart.
  return [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
  ].reduce((sum, [x, y, dx, dy]) => sum + of(Math.ceil((width - x!) / dx!), Math.ceil((height - y!) / dy!)), 0);
}

/** Of a PNG those chunks that its pixels need, in order; the compressed pixels on their own. */
export function pngParts(bytes: Uint8Array): {
  readonly plain: readonly Uint8Array[];
  readonly pixels: readonly Uint8Array[];
} {
  const view = viewOf(bytes);
  const plain: Uint8Array[] = [bytes.subarray(0, 8)];
  const pixels: Uint8Array[] = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const end = at + 12 + length;
    if (end > bytes.length) throw cut();
    // A decoder would believe the last header; the size was judged by the first.
    if (type === "IHDR" && at > 8) throw invalid("", "is a PNG image of several headers");
    if (["IHDR", "PLTE", "IDAT", "IEND"].includes(type)) plain.push(bytes.subarray(at, end));
    if (type === "IDAT") pixels.push(bytes.subarray(at + 8, end - 4));
    if (type === "IEND") return { plain, pixels };
    at = end;
  }
  throw cut();
}
