// How the vectors of an index came from the rows, as saved at the head of its first section: 40 bytes, little-endian.
// Guarantees: what is read back lies within the bounds that the kernels rely on, or `MalformedIndex`.

import { METRICS, type Metric } from "../metric.ts";
import { codeStride, type Int8Map } from "../quantize/int8.ts";
import { type FloatMap, floatStride } from "./float-form.ts";
import { MAX_DIMENSION } from "./limits.ts";
import { MalformedIndex } from "./segment-index.ts";

/** How the vectors of an index came from the rows. */
export type VectorForm = { readonly quantizer: "int8"; readonly map: Int8Map } | FloatMap;

export const FORM_BYTES = 40;
const QUANTIZERS = ["none", "int8"] as const;

/** Throws unless saved bytes are as they must be. */
export function refuse(condition: boolean, what: string): void {
  if (condition) throw new MalformedIndex(`a saved index with ${what}`);
}

export function metricOf(form: VectorForm): Metric {
  return form.quantizer === "int8" ? form.map.metric : form.metric;
}

export function dimensionOf(form: VectorForm): number {
  return form.quantizer === "int8" ? form.map.dimension : form.dimension;
}

/** Bytes from one vector to the next. */
export function strideOf(form: VectorForm): number {
  return form.quantizer === "int8" ? codeStride(form.map) : floatStride(form);
}

export function writeForm(form: VectorForm): Uint8Array {
  const none = { low: 0, step: 0, zero: 0, extras: 0, isExact: false };
  const map = form.quantizer === "int8" ? form.map : { ...form, ...none };
  const bytes = new Uint8Array(FORM_BYTES);
  const view = new DataView(bytes.buffer);
  const words = [METRICS.indexOf(map.metric), QUANTIZERS.indexOf(form.quantizer), map.dimension, map.isExact ? 1 : 0];
  for (const [i, word] of [...words, map.zero, map.extras].entries()) view.setUint32(i * 4, word, true);
  for (const [i, value] of [map.low, map.step, map.radius].entries()) view.setFloat32(24 + i * 4, value, true);
  return bytes;
}

/** @throws MalformedIndex */
export function readForm(bytes: Uint8Array): VectorForm {
  refuse(bytes.length < FORM_BYTES, `a header of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [metricCode, quantizerCode, dimension, exact, zero, extras] = [0, 1, 2, 3, 4, 5].map((i) =>
    view.getUint32(i * 4, true),
  ) as [number, number, number, number, number, number];
  const [low, step, radius] = [6, 7, 8].map((i) => view.getFloat32(i * 4, true)) as [number, number, number];
  const metric = METRICS[metricCode];
  const quantizer = QUANTIZERS[quantizerCode];
  if (metric === undefined || quantizer === undefined) throw new MalformedIndex("a saved index of an unknown form");
  refuse(dimension < 1 || dimension > MAX_DIMENSION, `dimension ${dimension}`);
  refuse(!(Number.isFinite(radius) && radius >= 0), `radius ${radius}`);
  if (quantizer === "none") return { quantizer, metric, dimension, radius };
  refuse(!(Number.isFinite(low) && Number.isFinite(step) && step > 0), `a map of ${low} and ${step}`);
  refuse(zero > 254 || extras > MAX_DIMENSION, `zero ${zero} and ${extras} extra codes`);
  return { quantizer, map: { metric, dimension, low, step, radius, zero, extras, isExact: exact === 1 } };
}
