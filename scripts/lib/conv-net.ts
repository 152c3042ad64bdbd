// A convolutional network small enough to be trained in JavaScript: four 3x3 convolutions with ReLU, the mean over what is left of the picture, a
// layer of 32 numbers (the vector), and one that tells classes. Adam (Kingma and Ba 2015); He's initial weights (2015).
import { type Node, onnxFile, tensor } from "./onnx-writer.ts";
import type { Random } from "./shapes.ts";

const VECTOR = 32;
const LAYERS = [
  { from: 3, to: 8, stride: 2 },
  { from: 8, to: 16, stride: 2 },
  { from: 16, to: 24, stride: 2 },
  { from: 24, to: 32, stride: 1 },
];
const LAST = 32;

class Weights {
  readonly values: Float32Array;
  readonly slopes: Float32Array;
  readonly mean: Float32Array;
  readonly square: Float32Array;

  constructor(count: number, scale: number, random: Random) {
    this.values = Float32Array.from({ length: count }, () => scale * gauss(random));
    this.slopes = new Float32Array(count);
    this.mean = new Float32Array(count);
    this.square = new Float32Array(count);
  }

  step({ rate, count, time }: { rate: number; count: number; time: number }): void {
    const [first, second] = [1 - 0.9 ** time, 1 - 0.999 ** time];
    for (let at = 0; at < this.values.length; at++) {
      const slope = this.slopes[at]! / count;
      this.mean[at] = 0.9 * this.mean[at]! + 0.1 * slope;
      this.square[at] = 0.999 * this.square[at]! + 0.001 * slope * slope;
      this.values[at]! -= (rate * (this.mean[at]! / first)) / (Math.sqrt(this.square[at]! / second) + 1e-8);
    }
    this.slopes.fill(0);
  }
}

const gauss = (random: Random): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** A 3x3 convolution with a frame of zeros, and ReLU. Pictures have their frame around them, so that no product asks where it is. */
class Convolution {
  readonly from: number;
  readonly to: number;
  readonly stride: number;
  readonly outSide: number;
  readonly weight: Weights;
  readonly bias: Weights;
  readonly #side: number;
  readonly #out: Float32Array;
  readonly #input: Float32Array;
  readonly #inSlopes: Float32Array;

  constructor({ from, to, stride }: (typeof LAYERS)[number], side: number, random: Random) {
    this.from = from;
    this.to = to;
    this.stride = stride;
    this.#side = side;
    this.outSide = Math.ceil(side / stride);
    this.weight = new Weights(to * from * 9, Math.sqrt(2 / (from * 9)), random);
    this.bias = new Weights(to, 0, random);
    this.#out = new Float32Array(to * this.outSide ** 2);
    this.#input = new Float32Array(from * (side + 2) ** 2);
    this.#inSlopes = new Float32Array(this.#input.length);
  }

  /** Calls `of(weight, input, output)` with the places of each product of the first pixel. */
  #each(of: (weight: number, inAt: number, outAt: number) => void): void {
    const framed = this.#side + 2;
    for (let out = 0; out < this.to; out++)
      for (let channel = 0; channel < this.from; channel++)
        for (let tap = 0; tap < 9; tap++) {
          const inAt = channel * framed * framed + Math.floor(tap / 3) * framed + (tap % 3);
          of((out * this.from + channel) * 9 + tap, inAt, out * this.outSide ** 2);
        }
  }

  forward(input: Float32Array): Float32Array {
    const { stride, outSide } = this;
    const [side, framed, own, out] = [this.#side, this.#side + 2, this.#input, this.#out];
    for (let row = 0; row < this.from * side; row++) {
      const [channel, y] = [Math.floor(row / side), row % side];
      own.set(input.subarray(row * side, (row + 1) * side), channel * framed * framed + (y + 1) * framed + 1);
    }
    for (let channel = 0; channel < this.to; channel++)
      out.fill(this.bias.values[channel]!, channel * outSide ** 2, (channel + 1) * outSide ** 2);
    this.#each((weight, inAt, outAt) => {
      const value = this.weight.values[weight]!;
      for (let row = 0; row < outSide; row++) {
        const [from, to] = [inAt + row * stride * framed, outAt + row * outSide];
        for (let column = 0; column < outSide; column++) out[to + column]! += value * own[from + column * stride]!;
      }
    });
    for (let at = 0; at < out.length; at++) if (out[at]! < 0) out[at] = 0;
    return out;
  }

  backward(slopes: Float32Array): Float32Array {
    const { stride, outSide } = this;
    const [side, framed, own, out, inSlopes] = [this.#side, this.#side + 2, this.#input, this.#out, this.#inSlopes];
    inSlopes.fill(0);
    for (let at = 0; at < slopes.length; at++) {
      if (out[at]! <= 0) slopes[at] = 0;
      this.bias.slopes[Math.floor(at / outSide ** 2)]! += slopes[at]!;
    }
    this.#each((weight, inAt, outAt) => {
      const value = this.weight.values[weight]!;
      let sum = 0;
      for (let row = 0; row < outSide; row++) {
        const [from, to] = [inAt + row * stride * framed, outAt + row * outSide];
        for (let column = 0; column < outSide; column++) {
          const slope = slopes[to + column]!;
          sum += slope * own[from + column * stride]!;
          inSlopes[from + column * stride]! += slope * value;
        }
      }
      this.weight.slopes[weight]! += sum;
    });
    const back = new Float32Array(this.from * side * side);
    for (let row = 0; row < this.from * side; row++) {
      const first = Math.floor(row / side) * framed * framed + ((row % side) + 1) * framed + 1;
      back.set(inSlopes.subarray(first, first + side), row * side);
    }
    return back;
  }
}

class Dense {
  readonly from: number;
  readonly to: number;
  readonly weight: Weights;
  readonly bias: Weights;
  #input = new Float32Array(0);

  constructor(from: number, to: number, random: Random) {
    this.from = from;
    this.to = to;
    this.weight = new Weights(from * to, Math.sqrt(1 / from), random);
    this.bias = new Weights(to, 0, random);
  }

  forward(input: Float32Array): Float32Array {
    this.#input = Float32Array.from(input);
    return Float32Array.from({ length: this.to }, (_, out) => {
      let sum = this.bias.values[out]!;
      for (let at = 0; at < this.from; at++) sum += input[at]! * this.weight.values[at * this.to + out]!;
      return sum;
    });
  }

  backward(slopes: Float32Array): Float32Array {
    for (let out = 0; out < this.to; out++) this.bias.slopes[out]! += slopes[out]!;
    return Float32Array.from({ length: this.from }, (_, at) => {
      let sum = 0;
      for (let out = 0; out < this.to; out++) {
        this.weight.slopes[at * this.to + out]! += slopes[out]! * this.#input[at]!;
        sum += slopes[out]! * this.weight.values[at * this.to + out]!;
      }
      return sum;
    });
  }
}

export class ClassifierNet {
  #count = 0;
  #time = 0;

  readonly #side: number;
  readonly #left: number;
  readonly #convolutions: Convolution[] = [];
  readonly #narrow: Dense;
  readonly #classes: Dense;

  constructor({ side, classes, random }: { side: number; classes: number; random: Random }) {
    this.#side = side;
    let left = side;
    for (const layer of LAYERS) {
      const convolution = new Convolution(layer, left, random);
      this.#convolutions.push(convolution);
      left = convolution.outSide;
    }
    this.#left = left;
    this.#narrow = new Dense(LAST, VECTOR, random);
    this.#classes = new Dense(VECTOR, classes, random);
  }

  vector(input: Float32Array): Float32Array {
    const seen = this.#convolutions.reduce((now, layer) => layer.forward(now), input);
    const area = this.#left ** 2;
    const means = Float32Array.from({ length: LAST }, (_, channel) => {
      let sum = 0;
      for (let at = channel * area; at < (channel + 1) * area; at++) sum += seen[at]!;
      return sum / area;
    });
    return this.#narrow.forward(means);
  }

  /** Gives the loss (cross entropy); the weights change at the next step. */
  learn(input: Float32Array, label: number): number {
    const scores = this.#classes.forward(this.vector(input));
    const most = Math.max(...scores);
    const shares = scores.map((score) => Math.exp(score - most));
    const all = shares.reduce((sum, share) => sum + share, 0);
    const slopes = shares.map((share, at) => share / all - (at === label ? 1 : 0));
    const means = this.#narrow.backward(this.#classes.backward(slopes));
    const area = this.#left ** 2;
    let back: Float32Array = Float32Array.from(
      { length: means.length * area },
      (_, at) => means[Math.floor(at / area)]! / area,
    );
    for (const layer of this.#convolutions.toReversed()) back = layer.backward(back);
    this.#count++;
    return -Math.log(Math.max(1e-12, shares[label]! / all));
  }

  step(rate: number): void {
    this.#time++;
    for (const { weight, bias } of [...this.#convolutions, this.#narrow, this.#classes])
      for (const weights of [weight, bias]) weights.step({ rate, count: this.#count, time: this.#time });
    this.#count = 0;
  }

  /** Without the layer that tells classes. */
  onnx(): Uint8Array {
    const nodes: Node[] = [];
    const constants: Uint8Array[] = [];
    let now = "pixel_values";
    for (const [at, { from, to, stride, weight, bias }] of this.#convolutions.entries()) {
      constants.push(tensor(`w${at}`, [to, from, 3, 3], weight.values), tensor(`b${at}`, [to], bias.values));
      const attributes = { strides: [stride, stride], pads: [1, 1, 1, 1], kernel_shape: [3, 3] };
      nodes.push({ op: "Conv", inputs: [now, `w${at}`, `b${at}`], output: `c${at}`, attributes });
      nodes.push({ op: "Relu", inputs: [`c${at}`], output: `r${at}` });
      now = `r${at}`;
    }
    constants.push(
      tensor("wn", [this.#narrow.from, VECTOR], this.#narrow.weight.values),
      tensor("bn", [VECTOR], this.#narrow.bias.values),
    );
    nodes.push({ op: "GlobalAveragePool", inputs: [now], output: "mean" });
    nodes.push({ op: "Flatten", inputs: ["mean"], output: "flat" });
    nodes.push({ op: "MatMul", inputs: ["flat", "wn"], output: "narrow" });
    nodes.push({ op: "Add", inputs: ["narrow", "bn"], output: "image_embeds" });
    const inputs = [{ name: "pixel_values", type: "float" as const, dims: ["batch", 3, this.#side, this.#side] }];
    return onnxFile({
      nodes,
      constants,
      inputs,
      outputs: [{ name: "image_embeds", type: "float", dims: ["batch", VECTOR] }],
    });
  }
}
