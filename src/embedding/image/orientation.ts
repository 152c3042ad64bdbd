// How a camera was held, as EXIF says it in a JPEG, and pixels turned so that the picture stands upright.
// Guarantees: bounded work; EXIF that is broken, or says nothing of it, turns nothing, as with sharp and Pillow. Must not: refuse a picture.

/** 1 = as it is; the others by EXIF 2.32, tag 0x0112: mirrored (2, 4, 5, 7), turned by half (3), to the right (6), to the left (8). */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

const EXIF = [0x45, 0x78, 0x69, 0x66, 0, 0];
const TAG = 0x0112;
const SHORT = 3;
const ENTRY_BYTES = 12;

/** Of an APP1 segment without its marker and length; undefined = it is not EXIF. */
export function exifOrientation(segment: Uint8Array): Orientation | undefined {
  if (EXIF.some((byte, at) => segment[at] !== byte)) return undefined;
  const tiff = new DataView(segment.buffer, segment.byteOffset + EXIF.length, segment.byteLength - EXIF.length);
  if (tiff.byteLength < 8) return 1;
  const isLittle = tiff.getUint16(0) === 0x4949;
  if (!isLittle && tiff.getUint16(0) !== 0x4d4d) return 1;
  const directory = tiff.getUint32(4, isLittle);
  if (tiff.getUint16(2, isLittle) !== 42 || directory + 2 > tiff.byteLength) return 1;
  const entries = tiff.getUint16(directory, isLittle);
  for (let n = 0; n < entries; n++) {
    const at = directory + 2 + n * ENTRY_BYTES;
    if (at + ENTRY_BYTES > tiff.byteLength) return 1;
    if (tiff.getUint16(at, isLittle) !== TAG) continue;
    const value = tiff.getUint16(at + 8, isLittle);
    const isKnown = tiff.getUint16(at + 2, isLittle) === SHORT && value >= 1 && value <= 8;
    return isKnown ? (value as Orientation) : 1;
  }
  return 1;
}

export interface Turn {
  readonly width: number;
  readonly height: number;
  /** Where the pixel in column x of row y stands: first + x * column + y * row. */
  readonly first: number;
  readonly column: number;
  readonly row: number;
}

/** What a picture of this size becomes. */
export function turnOf(orientation: Orientation, { width, height }: { width: number; height: number }): Turn {
  const isOnSide = orientation >= 5;
  const size = isOnSide ? { width: height, height: width } : { width, height };
  // Along the new picture: does the old x run backwards, and the old y?
  const isXBack = [2, 3, 7, 8].includes(orientation);
  const isYBack = [3, 4, 6, 7].includes(orientation);
  const [column, row] = isOnSide ? [size.width, 1] : [1, size.width];
  const first = (isXBack ? (width - 1) * column : 0) + (isYBack ? (height - 1) * row : 0);
  return { ...size, first, column: isXBack ? -column : column, row: isYBack ? -row : row };
}
