// What a model's makers do to a picture before the graph sees it: preprocessor_config.json, as Hugging Face's image processors read it.
// Guarantees: what is asked for and not done here is refused when the file is read, not left out. Must not: decode.
import { MAX_INPUT_SIDE } from "../limits.ts";
import { badFile, invalid } from "../refusal.ts";
import { CHANNELS, type Kernel, type Picture, resized, type Size } from "./resize.ts";

export const PREPROCESSOR_FILE = "preprocessor_config.json";

export interface Preprocessor {
  /** Undefined = as it came. */
  readonly resize?: Size | { readonly shortestEdge: number } | undefined;
  readonly kernel: Kernel;
  readonly crop?: Size | undefined;
  /** A byte times this. */
  readonly factor: number;
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
}

type Json = Readonly<Record<string, unknown>>;

const sideOf = (value: unknown, field: string): number => {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_INPUT_SIDE) return value as number;
  throw badFile(`${PREPROCESSOR_FILE} has the ${field} ${JSON.stringify(value)}; 1 to ${MAX_INPUT_SIDE} can be`);
};

function sizeOf(value: unknown, field: string): Size | { readonly shortestEdge: number } {
  if (typeof value === "object" && value !== null) {
    const { height, width, shortest_edge: edge } = value as Json;
    if (height !== undefined)
      return { height: sideOf(height, `${field}.height`), width: sideOf(width, `${field}.width`) };
    if (edge !== undefined) return { shortestEdge: sideOf(edge, `${field}.shortest_edge`) };
  }
  throw badFile(`${PREPROCESSOR_FILE} has a ${field} without height and width, or shortest_edge`);
}

function cropOf(value: unknown): Size {
  const size = typeof value === "number" ? { height: value, width: value } : value;
  const crop = sizeOf(size, "crop_size");
  if ("width" in crop) return crop;
  throw badFile(`${PREPROCESSOR_FILE} has a crop_size without height and width`);
}

/** Pillow's numbers. */
function kernelOf(value: unknown): Kernel {
  switch (value) {
    case 1:
      return "lanczos3";
    case undefined:
    case 2:
      return "linear";
    case 3:
      return "cubic";
    default:
      throw badFile(`${PREPROCESSOR_FILE} asks for resample ${JSON.stringify(value)}; 1, 2 and 3 are done`);
  }
}

function threeOf(value: unknown, field: string): readonly number[] {
  if (Array.isArray(value) && value.length === CHANNELS && value.every(Number.isFinite)) return value as number[];
  throw badFile(`${PREPROCESSOR_FILE} has no ${field} of ${CHANNELS} numbers`);
}

/** @throws EmbeddingRefusal */
export function preprocessorOf(json: Json): Preprocessor {
  for (const field of ["do_pad", "do_flip_channel_order", "do_splits"])
    if (json[field] === true) throw badFile(`${PREPROCESSOR_FILE} asks for ${field}, which is not done`);
  const isCropped = json["do_center_crop"] === true;
  const edge = json["size"];
  // A bare number: of processors that crop the shorter side, of others both.
  const size = typeof edge !== "number" ? edge : isCropped ? { shortest_edge: edge } : { height: edge, width: edge };
  let resize = json["do_resize"] === false ? undefined : sizeOf(size, "size");
  let crop = isCropped ? cropOf(json["crop_size"] ?? json["size"]) : undefined;
  const part = json["crop_pct"];
  if (typeof part === "number" && part > 0 && resize && "shortestEdge" in resize) {
    crop = { width: resize.shortestEdge, height: resize.shortestEdge };
    resize = { shortestEdge: sideOf(Math.floor(resize.shortestEdge / part), "size.shortest_edge / crop_pct") };
  }
  const isScaled = json["do_rescale"] !== false;
  const factor = json["rescale_factor"] ?? 1 / 255;
  if (typeof factor !== "number" || !(factor > 0)) throw badFile(`${PREPROCESSOR_FILE} has no rescale_factor above 0`);
  const isNormal = json["do_normalize"] !== false;
  const deviation = isNormal ? threeOf(json["image_std"], "image_std") : [1, 1, 1];
  if (deviation.includes(0)) throw badFile(`${PREPROCESSOR_FILE} has an image_std of 0`);
  const mean = isNormal ? threeOf(json["image_mean"], "image_mean") : [0, 0, 0];
  return { resize, kernel: kernelOf(json["resample"]), crop, factor: isScaled ? factor : 1, mean, deviation };
}

/** The size that a picture is brought to. Long thin ones are cut first by {@link prepared}. */
function targetOf({ width, height }: Size, resize: NonNullable<Preprocessor["resize"]>): Size {
  if ("width" in resize) return resize;
  const { shortestEdge } = resize;
  return width < height
    ? { width: shortestEdge, height: Math.floor((shortestEdge * height) / width) }
    : { width: Math.floor((shortestEdge * width) / height), height: shortestEdge };
}

/** The middle; what is missing is black. */
export function cropped({ width, height, data }: Picture, size: Size): Picture {
  const [left, top] = [Math.floor((width - size.width) / 2), Math.floor((height - size.height) / 2)];
  const to = new Uint8Array(size.width * size.height * CHANNELS);
  for (let row = Math.max(0, -top); row < size.height && row + top < height; row++) {
    const first = Math.max(0, -left);
    const count = Math.min(size.width, width - left) - first;
    const from = ((row + top) * width + left + first) * CHANNELS;
    to.set(data.subarray(from, from + count * CHANNELS), (row * size.width + first) * CHANNELS);
  }
  return { ...size, data: to };
}

/** Of a picture much longer than what is kept of it the ends are never seen: resizing them could cost any amount. */
function withoutEnds(picture: Picture, { resize, crop }: Preprocessor): Picture {
  if (!crop || !resize || "width" in resize) return picture;
  const shorter = Math.min(picture.width, picture.height);
  const most = Math.ceil((shorter * (Math.max(crop.width, crop.height) + 16)) / resize.shortestEdge);
  const size = { width: Math.min(picture.width, most), height: Math.min(picture.height, most) };
  // The same remainder of two: the middle stays in the middle.
  size.width -= (picture.width - size.width) % 2;
  size.height -= (picture.height - size.height) % 2;
  return size.width < picture.width / 2 || size.height < picture.height / 2 ? cropped(picture, size) : picture;
}

export interface Prepared extends Size {
  /** Colour by colour (channels first), or pixel by pixel. */
  readonly data: Float32Array;
}

/** What the graph is given. */
export function prepared(picture: Picture, how: Preprocessor, channelsLast = false): Prepared {
  let now = how.resize ? withoutEnds(picture, how) : picture;
  if (how.resize) now = resized(now, targetOf(now, how.resize), how.kernel);
  if (how.crop) now = cropped(now, how.crop);
  if (Math.max(now.width, now.height) > MAX_INPUT_SIDE)
    throw invalid(
      "",
      `is a picture of ${now.width} x ${now.height} as the model would get it; a side has at most ${MAX_INPUT_SIDE}`,
    );
  const { width, height, data } = now;
  const [pixels, to] = [width * height, new Float32Array(data.length)];
  for (let at = 0; at < data.length; at++) {
    const channel = at % CHANNELS;
    const place = channelsLast ? at : channel * pixels + (at - channel) / CHANNELS;
    to[place] = (data[at]! * how.factor - how.mean[channel]!) / how.deviation[channel]!;
  }
  return { width, height, data: to };
}
