// PNG and JPEG to pixels, in the embedder's Worker: libjpeg (mozjpeg) as a WebAssembly module that is imported, PNG in JavaScript.
// Guarantees: the size is judged before anything is decoded; what is inflated is counted while it is; each JPEG has an instance of its own, so that
// what a picture took is given back and what a broken one left is gone; a JPEG is turned as its EXIF says. Must not: apply colour profiles.
import jpegFactory from "@jsquash/jpeg/codec/dec/mozjpeg_dec.js";
import jpegModule from "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm";
import { decode as decodePng } from "fast-png";
import { type ImageHeader, imageHeader, inflatedBytes, pngParts } from "../src/embedding/image/header.ts";
import { turnOf } from "../src/embedding/image/orientation.ts";
import { CHANNELS, type Picture } from "../src/embedding/image/resize.ts";
import { EmbeddingRefusal, invalid } from "../src/embedding/refusal.ts";

/** @throws EmbeddingRefusal whose message goes on from the field's name */
export async function decodeImage(bytes: Uint8Array): Promise<Picture> {
  const header = imageHeader(bytes);
  try {
    return header.format === "png" ? await pngPicture(bytes, header) : await jpegPicture(bytes, header);
  } catch (error) {
    if (error instanceof EmbeddingRefusal) throw error;
    throw invalid("", `is a ${header.format.toUpperCase()} image that cannot be decoded`);
  }
}

async function jpegPicture(bytes: Uint8Array, header: ImageHeader): Promise<Picture> {
  const decoder = await jpegFactory({
    noInitialRun: true,
    // Warnings of libjpeg are nobody's to read.
    print: () => undefined,
    printErr: () => undefined,
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const instance = new WebAssembly.Instance(jpegModule, imports);
      done(instance);
      return instance.exports;
    },
  } as never);
  const image = decoder.decode(bytes as never, false);
  if (image?.width !== header.width || image.height !== header.height)
    throw new Error("another size than the header's");
  return upright(new Uint8Array(image.data.buffer), header);
}

/** Turned, and without alpha. */
function upright(rgba: Uint8Array, header: ImageHeader): Picture {
  const { width, height, first, column, row } = turnOf(header.orientation, header);
  const data = new Uint8Array(width * height * CHANNELS);
  for (let y = 0, from = 0; y < header.height; y++) {
    for (let x = 0; x < header.width; x++, from += 4) {
      const to = (first + x * column + y * row) * CHANNELS;
      data[to] = rgba[from]!;
      data[to + 1] = rgba[from + 1]!;
      data[to + 2] = rgba[from + 2]!;
    }
  }
  return { width, height, data };
}

async function pngPicture(bytes: Uint8Array, header: ImageHeader): Promise<Picture> {
  const { plain, pixels } = pngParts(bytes);
  await requireInflated(pixels, inflatedBytes(header));
  // Without texts and profiles, which could inflate to anything.
  const image = decodePng(await joined(plain), { checkCrc: true });
  const { width, height, channels, depth } = image;
  const palette = header.hasPalette ? image.palette : undefined;
  const data = new Uint8Array(width * height * CHANNELS);
  // As libpng has it for libvips: the high byte of 16 bits, fewer bits spread over the byte.
  const byteOf = (value: number): number =>
    depth === 16 ? value >> 8 : depth < 8 ? (value * 255) / (2 ** depth - 1) : value;
  const samples = depth < 8 ? unpacked(image.data as Uint8Array, header) : image.data;
  for (let pixel = 0; pixel < width * height; pixel++) {
    const from = pixel * channels;
    for (let channel = 0; channel < CHANNELS; channel++) {
      const sample = samples[from + (channels < CHANNELS ? 0 : channel)]!;
      data[pixel * CHANNELS + channel] = palette ? (palette[sample]?.[channel] ?? 0) : byteOf(sample);
    }
  }
  return { width, height, data };
}

/** Several samples a byte, a row beginning with a byte of its own. */
function unpacked(bytes: Uint8Array, { width, height, depth }: ImageHeader): Uint8Array {
  const rowBytes = Math.ceil((width * depth) / 8);
  const mask = 2 ** depth - 1;
  const to = new Uint8Array(width * height);
  for (let at = 0; at < to.length; at++) {
    const bit = (at % width) * depth;
    to[at] = (bytes[Math.floor(at / width) * rowBytes + (bit >> 3)]! >> (8 - depth - (bit & 7))) & mask;
  }
  return to;
}

async function joined(parts: readonly Uint8Array[]): Promise<Uint8Array> {
  return new Uint8Array(await new Blob([...parts] as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

/** Inflated once for its length: the decoder would take whatever comes. */
async function requireInflated(parts: readonly Uint8Array[], expected: number): Promise<void> {
  let bytes = 0;
  const stream = new Blob([...parts] as Uint8Array<ArrayBuffer>[])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"));
  for await (const chunk of stream as ReadableStream<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > expected) throw invalid("", `is a PNG image with more than the ${expected} bytes of its pixels`);
  }
  if (bytes < expected) throw invalid("", "is an image that was cut off");
}
