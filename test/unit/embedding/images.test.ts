// Images in Node with the decoders that the embedder has, against sharp (libvips with mozjpeg and libpng).
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { decodeImage } from "../../../objects/image-decoder.ts";
import { imageHeader } from "../../../src/embedding/image/header.ts";
import { cropped, prepared, preprocessorOf } from "../../../src/embedding/image/preprocessor.ts";
import { type Kernel, type Picture, resized } from "../../../src/embedding/image/resize.ts";
import { EmbeddingRefusal } from "../../../src/embedding/refusal.ts";
import { bomb } from "../../onnx/png-bomb.ts";

/** Stripes, noise and slopes: what shows a wrong weight. */
function picture(width: number, height: number, seed = 7): Picture {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const data = Uint8Array.from({ length: width * height * 3 }, (_, at) => {
    const [x, y] = [Math.floor(at / 3) % width, Math.floor(at / 3 / width)];
    if (x > width / 2 && y > height / 3) return next() * 256;
    return y < height / 3 ? (x * 255) / width : (x * 5 + y * 3) % 256 < 128 ? 255 : 0;
  });
  return { width, height, data };
}

const ofPicture = ({ width, height, data }: Picture) => sharp(data, { raw: { width, height, channels: 3 } });

function farthest(mine: Uint8Array, theirs: Uint8Array): number {
  expect(mine.length).toBe(theirs.length);
  let most = 0;
  for (const [at, value] of theirs.entries()) most = Math.max(most, Math.abs(value - mine[at]!));
  return most;
}

async function refusal(bytes: Uint8Array): Promise<string> {
  const error = await decodeImage(bytes).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(EmbeddingRefusal);
  expect((error as EmbeddingRefusal).code).toBe("invalidRequest");
  return (error as EmbeddingRefusal).message;
}

describe("images", () => {
  it("[EM-45] resizing is sharp's within 1: smaller, larger, one side each, whole and broken factors, three kernels", async () => {
    for (const [from, to] of [
      [
        [64, 48],
        [32, 32],
      ],
      [
        [100, 75],
        [33, 21],
      ],
      [
        [640, 480],
        [224, 224],
      ],
      [
        [500, 333],
        [224, 149],
      ],
      [
        [1000, 700],
        [50, 40],
      ],
      [
        [32, 20],
        [48, 64],
      ],
      [
        [31, 17],
        [224, 224],
      ],
      [
        [97, 61],
        [64, 64],
      ],
      [
        [40, 100],
        [64, 64],
      ],
      [
        [40, 100],
        [64, 100],
      ],
      [
        [5, 3],
        [1, 1],
      ],
    ] as const)
      for (const kernel of ["lanczos3", "cubic", "linear"] as const satisfies readonly Kernel[]) {
        const given = picture(from[0], from[1]);
        const [width, height] = to;
        const theirs = await ofPicture(given).resize(width, height, { fit: "fill", kernel }).raw().toBuffer();
        const mine = resized(given, { width, height }, kernel);
        expect(farthest(mine.data, theirs), `${from} to ${to}, ${kernel}`).toBeLessThanOrEqual(1);
      }
  });

  it("[EM-46] decoding is sharp's within 1: PNG of all kinds, JPEG with colours of any resolution, progressive, grey", async () => {
    const given = picture(61, 43);
    const rgba = await ofPicture(given).ensureAlpha(0.5).png().toBuffer();
    const deep = sharp(Uint16Array.from(given.data, (value) => value * 257) as never, {
      raw: { width: 61, height: 43, channels: 3 },
    }).toColourspace("rgb16");
    const files: Record<string, Buffer> = {
      png: await ofPicture(given).png().toBuffer(),
      "png of 8 bits, interlaced": await ofPicture(given).png({ progressive: true }).toBuffer(),
      "png with a palette": await ofPicture(given).png({ palette: true, colours: 200 }).toBuffer(),
      "png of 16 colours": await ofPicture(given).png({ palette: true, colours: 16 }).toBuffer(),
      "png of 2 colours": await ofPicture(given).threshold().png({ palette: true, colours: 2 }).toBuffer(),
      "png in grey": await ofPicture(given).greyscale().png().toBuffer(),
      "png with alpha": rgba,
      "png of 16 bits": await deep.png().toBuffer(),
      "jpeg 4:2:0": await ofPicture(given).jpeg({ quality: 80 }).toBuffer(),
      "jpeg 4:4:4": await ofPicture(given).jpeg({ quality: 95, chromaSubsampling: "4:4:4" }).toBuffer(),
      "jpeg, progressive": await ofPicture(given).jpeg({ progressive: true }).toBuffer(),
      "jpeg in grey": await ofPicture(given).greyscale().jpeg().toBuffer(),
    };
    for (const [name, bytes] of Object.entries(files)) {
      const theirs = await sharp(bytes).removeAlpha().toColourspace("srgb").raw().toBuffer();
      const { width, height, data } = await decodeImage(bytes);
      expect([width, height], name).toEqual([61, 43]);
      expect(farthest(data, theirs), name).toBeLessThanOrEqual(1);
    }
  });

  it("[EM-47] what is no image, cut off, changed or too large is refused before it is decoded", async () => {
    expect(await refusal(new TextEncoder().encode("GIF89a and more"))).toBe(" is neither a PNG nor a JPEG image");
    expect(await refusal(new Uint8Array(0))).toBe(" is neither a PNG nor a JPEG image");
    const forty = bomb(8000, 5000, 100);
    expect(await refusal(forty)).toBe(" is an image of 8000 x 5000 = 40000000 pixels; the limit is 12500000");
    expect(forty.length).toBeLessThan(1000);
    expect(await refusal(bomb(100_000, 10, 100))).toContain("a side has at most 16384");
    expect(await refusal(bomb(0, 10, 100))).toContain("0 x 10 pixels");
    // Ten pixels that inflate to a hundred megabytes.
    expect(await refusal(bomb(5, 2, 100_000_000))).toContain("more than the 32 bytes of its pixels");
    expect(await refusal(bomb(50, 20, 100))).toBe(" is an image that was cut off");
    expect(await refusal(new Uint8Array(5 * 1024 * 1024 + 1))).toContain("5242881 bytes; the limit is 5242880");
    const given = picture(60, 40);
    for (const bytes of [await ofPicture(given).png().toBuffer(), await ofPicture(given).jpeg().toBuffer()]) {
      for (const length of [3, 20, 60, bytes.length >> 1, bytes.length - 3])
        expect(await refusal(bytes.subarray(0, length)), `${length} bytes`).toMatch(/cut off|neither|wrong|decoded/);
    }
    const broken = await ofPicture(given).png().toBuffer();
    broken[broken.length >> 1]! ^= 1;
    await refusal(broken);
    const cmyk = await ofPicture(given).toColourspace("cmyk").jpeg().toBuffer();
    expect(await refusal(cmyk)).toContain("CMYK");
    // What a broken image left behind harms no other.
    expect((await decodeImage(await ofPicture(given).jpeg().toBuffer())).width).toBe(60);
  });

  it("[EM-47] a size that is said twice is refused: a decoder might believe the other one", async () => {
    const [small, large] = [Buffer.from(bomb(5, 2, 32)), Buffer.from(bomb(8000, 5000, 32))];
    const header = large.subarray(8, 33);
    const png = Buffer.concat([small.subarray(0, 33), header, small.subarray(33)]);
    expect(await refusal(png)).toBe(" is a PNG image of several headers");
    const bytes = await ofPicture(picture(16, 16)).jpeg().toBuffer();
    const at = bytes.indexOf(Buffer.from([0xff, 0xc0]));
    const frame = bytes.subarray(at, at + 2 + bytes.readUInt16BE(at + 2));
    const jpeg = Buffer.concat([bytes.subarray(0, -2), frame, bytes.subarray(-2)]);
    expect(await refusal(jpeg)).toBe(" is a JPEG image of several frames");
  });

  it("[EM-47] a JPEG of hundreds of scans is refused", async () => {
    const bytes = await ofPicture(picture(16, 16)).jpeg().toBuffer();
    const at = bytes.indexOf(Buffer.from([0xff, 0xda]));
    const scan = bytes.subarray(at, bytes.length - 2);
    const many = Buffer.concat([bytes.subarray(0, at), ...Array.from({ length: 70 }, () => scan), bytes.subarray(-2)]);
    expect(() => imageHeader(many)).toThrow("more than 64 scans");
  });

  it("[EM-48] a picture is resized, cropped and normalized as preprocessor_config.json says", async () => {
    const given = picture(120, 80);
    const clip = preprocessorOf({
      ...{ do_center_crop: true, crop_size: { height: 32, width: 32 }, size: { shortest_edge: 32 }, resample: 3 },
      ...{ image_mean: [0.5, 0.4, 0.3], image_std: [0.2, 0.25, 0.5] },
    });
    const small = await ofPicture(given)
      .resize(48, 32, { fit: "fill", kernel: "cubic" })
      .extract({ left: 8, top: 0, width: 32, height: 32 })
      .raw()
      .toBuffer();
    const { width, height, data } = prepared(given, clip);
    expect([width, height]).toEqual([32, 32]);
    for (const [pixel, channel] of [
      [0, 0],
      [17, 1],
      [1023, 2],
    ] as const) {
      const expected = (small[pixel * 3 + channel]! / 255 - [0.5, 0.4, 0.3][channel]!) / [0.2, 0.25, 0.5][channel]!;
      expect(Math.abs(data[channel * 1024 + pixel]! - expected)).toBeLessThan(1.01 / 255 / 0.2);
      expect(prepared(given, clip, true).data[pixel * 3 + channel]).toBe(data[channel * 1024 + pixel]);
    }
    const plain = preprocessorOf({ size: 8, do_normalize: false });
    expect(prepared(given, plain).data).toHaveLength(8 * 8 * 3);
    expect(Math.max(...prepared(given, plain).data)).toBeLessThanOrEqual(1);
    // ConvNeXt's: a little larger, then the middle.
    const convnext = preprocessorOf({ size: { shortest_edge: 28 }, crop_pct: 0.875, do_normalize: false });
    expect(convnext).toMatchObject({ resize: { shortestEdge: 32 }, crop: { width: 28, height: 28 } });
    expect(cropped(picture(2, 2), { width: 4, height: 4 }).data.slice(0, 12)).toEqual(new Uint8Array(12));
    // The ends of a thin strip are cut before it is resized, not after.
    expect(prepared(picture(12_000, 2), clip).width).toBe(32);
    for (const [json, message] of [
      [{}, "a size without height"],
      [{ size: { height: 5000, width: 1 } }, "size.height 5000"],
      [{ size: 8, resample: 0, do_normalize: false }, "resample 0"],
      [{ size: 8 }, "no image_std of 3 numbers"],
      [{ size: 8, image_mean: [0, 0, 0], image_std: [1, 0, 1] }, "an image_std of 0"],
      [{ size: 8, do_pad: true }, "do_pad"],
    ] as const)
      expect(() => preprocessorOf(json)).toThrow(message);
  });
});
