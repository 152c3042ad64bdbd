// Graphs of images and of declared inputs, in Node with the very runtime that the embedder has.
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { decodeImage } from "../../../objects/image-decoder.ts";
import { openGraph } from "../../../objects/onnx-runtime.ts";
import { externalTensor, onnxFile, tensor, type ValueInfo } from "../../../scripts/lib/onnx-writer.ts";
import { GraphEncoder } from "../../../src/embedding/graph/encoder.ts";
import { graphFiles } from "../../../src/embedding/graph/files.ts";
import { vectorOf } from "../../../src/embedding/graph/output.ts";
import { requireDeclared, type TensorInput } from "../../../src/embedding/graph/tensors.ts";
import { preprocessorOf } from "../../../src/embedding/image/preprocessor.ts";
import type { Outcome } from "../../../src/embedding/queue.ts";
import { EmbeddingRefusal } from "../../../src/embedding/refusal.ts";
import { bomb } from "../../onnx/png-bomb.ts";

const NONE = new Map<string, Uint8Array>();
const PLAIN = { pooling: "mean", normalize: false } as const;

/** y = x · weight: [1, 3] times [3, 2]. */
const WEIGHT = Float32Array.of(1, 2, 3, 4, 5, 6);
const X: ValueInfo = { name: "x", type: "float", dims: ["rows", 3] };
const Y: ValueInfo = { name: "y", type: "float", dims: ["rows", 2] };
const product = (constants: readonly Uint8Array[]): Uint8Array =>
  onnxFile({ nodes: [{ op: "MatMul", inputs: ["x", "weight"], output: "y" }], constants, inputs: [X], outputs: [Y] });

const valuesOf = (outcome: Outcome | undefined): readonly number[] => {
  if (!outcome || outcome instanceof EmbeddingRefusal) throw new Error(String(outcome?.message));
  return [...outcome.values];
};
const messageOf = (outcome: Outcome | undefined): string => (outcome as EmbeddingRefusal).message;

describe("graphs of images", () => {
  /** The mean of each colour. */
  const means = onnxFile({
    nodes: [{ op: "GlobalAveragePool", inputs: ["pixels"], output: "colours" }],
    constants: [],
    inputs: [{ name: "pixels", type: "float", dims: [1, 3, 8, 8] }],
    outputs: [{ name: "colours", type: "float", dims: [1, 3, 1, 1] }],
  });
  const how = { ...preprocessorOf({ size: 8, do_normalize: false }), decode: decodeImage };

  it("[EM-49] an image's vector is what the graph gives of its pixels; what is refused stops no other", async () => {
    const encoder = await GraphEncoder.ofImages(await openGraph({ graph: means, weights: NONE }), how, PLAIN);
    expect(encoder.dimension).toBe(3);
    const red = await sharp({ create: { width: 30, height: 20, channels: 3, background: { r: 255, g: 51, b: 0 } } })
      .png()
      .toBuffer();
    const [first, second, third] = await encoder.run([{ image: red }, { image: bomb(8000, 5000, 10) }, { image: red }]);
    for (const outcome of [first, third])
      expect(valuesOf(outcome).map((value) => Number(value.toFixed(5)))).toEqual([1, 0.2, 0]);
    expect(messageOf(second)).toContain("40000000 pixels");
    await encoder.release();
  });

  it("[EM-49] graphs that take or give something else than pictures and vectors are refused", async () => {
    const other = await openGraph({ graph: product([tensor("weight", [3, 2], WEIGHT)]), weights: NONE });
    await expect(GraphEncoder.ofImages(other, how, PLAIN)).rejects.toThrow("one of float32 pictures");
    const numbers = (dims: readonly number[]) => ({
      data: Float32Array.from({ length: dims.reduce((all, dim) => all * dim, 1) }, (_, at) => at),
      dims,
    });
    expect([...vectorOf(numbers([1, 2, 3]), PLAIN)]).toEqual([1.5, 2.5, 3.5]);
    expect([...vectorOf(numbers([1, 2, 3]), { ...PLAIN, pooling: "cls" })]).toEqual([0, 1, 2]);
    expect([...vectorOf(numbers([1, 2, 2, 2]), PLAIN)]).toEqual([1.5, 5.5]);
    expect(Math.hypot(...vectorOf(numbers([1, 5]), { pooling: "mean" }))).toBeCloseTo(1, 6);
    for (const dims of [
      [2, 3],
      [1, 5000],
      [2, 1, 3, 3],
      [1, 2, 2, 2, 2],
    ])
      expect(() => vectorOf(numbers(dims), PLAIN), `${dims}`).toThrow("which is no vector");
  });
});

describe("graphs of declared inputs", () => {
  const declared: readonly TensorInput[] = [{ name: "x", type: "float32", shape: [1, 3] }];
  const graph = product([tensor("weight", [3, 2], WEIGHT)]);
  const of = (...data: readonly number[]) => ({ tensor: { x: { data: Float64Array.from(data) } } });

  it("[EM-50] tensors of the declared names, types and shapes become vectors; others are refused by what is wrong", async () => {
    const session = await openGraph({ graph, weights: NONE });
    const encoder = await GraphEncoder.ofTensors(session, declared, PLAIN);
    expect(encoder.dimension).toBe(2);
    const x = { data: Float64Array.of(1, 0, 2) };
    const outcomes = await encoder.run([
      of(1, 0, 2),
      { tensor: { x: { ...x, shape: [1, 3] } } },
      of(1, 2),
      { tensor: { x: { ...x, shape: [3, 1] } } },
      { tensor: {} },
      { tensor: { x, mask: x } },
      { tensor: { x: { data: new Float64Array(1_000_001) } } },
    ]);
    expect(outcomes.slice(0, 2).map(valuesOf)).toEqual([
      [11, 14],
      [11, 14],
    ]);
    expect(outcomes.slice(2).map(messageOf)).toEqual([
      " has a x of 2 numbers; [1, 3] has 3",
      " has a x of the shape [3, 1]; the model takes [1, 3]",
      " has no x",
      " has mask; the model takes x",
      " has 1000001 numbers; the limit is 1000000",
    ]);
    await encoder.release();
  });

  it("[EM-50] whole numbers are whole and in range; free dimensions need a shape; one set of tensors is one vector", async () => {
    const picked = onnxFile({
      nodes: [{ op: "Gather", inputs: ["table", "ids"], output: "rows" }],
      constants: [tensor("table", [3, 2], WEIGHT)],
      inputs: [{ name: "ids", type: "int64", dims: [1, "count"] }],
      outputs: [{ name: "rows", type: "float", dims: [1, "count", 2] }],
    });
    const inputs: readonly TensorInput[] = [{ name: "ids", type: "int64", shape: [1, null] }];
    const encoder = await GraphEncoder.ofTensors(await openGraph({ graph: picked, weights: NONE }), inputs, PLAIN);
    const ids = (shape: readonly number[] | undefined, ...data: readonly number[]) => ({
      tensor: { ids: { data: Float64Array.from(data), shape } },
    });
    const [two, noShape, half, beyond] = await encoder.run([
      ids([1, 2], 0, 2),
      ids(undefined, 0),
      ids([1, 1], 0.5),
      ids([1, 1], 2 ** 60),
    ]);
    expect(valuesOf(two)).toEqual([3, 4]);
    expect(messageOf(noShape)).toBe(" has a ids without shape; the model takes [1, any]");
    expect(messageOf(half)).toBe(" has a ids with 0.5 at 0, which is no int64");
    expect(messageOf(beyond)).toContain("which is no int64");
    await encoder.release();
  });

  it("[EM-50] what is declared has to be possible, and what the graph has", async () => {
    const session = await openGraph({ graph, weights: NONE });
    for (const [inputs, message] of [
      [[{ ...declared[0]!, name: "z" }], "inputs do not declare it"],
      [[...declared, { ...declared[0]!, name: "z" }], "inputs declare z"],
      [[{ ...declared[0]!, type: "int64" as const }], "inputs declare int64"],
      [[{ ...declared[0]!, shape: [1, 4] }], "is float32 [rows, 3]; inputs declare float32 [1, 4]"],
      [[{ ...declared[0]!, shape: [3] }], "inputs declare float32 [3]"],
    ] as const)
      await expect(GraphEncoder.ofTensors(session, inputs, PLAIN)).rejects.toThrow(message);
    for (const [inputs, message] of [
      [undefined, "are needed"],
      [[declared[0]!, declared[0]!], "name one input twice"],
      [[{ ...declared[0]!, shape: [2000, 2000] }], "4000000 numbers"],
    ] as const)
      expect(() => requireDeclared(inputs)).toThrow(message);
  });

  it("[EM-51] weights in files of their own are taken from them; without them the graph is refused by their name", async () => {
    const data = new Uint8Array(64);
    data.set(new Uint8Array(WEIGHT.buffer), 16);
    const apart = product([externalTensor("weight", [3, 2], { file: "model.onnx_data", offset: 16, length: 24 })]);
    const files = graphFiles(
      new Map([
        ["config.json", new Uint8Array(2)],
        ["model.onnx", apart],
        ["model.onnx_data", data],
      ]),
    );
    expect([...files.weights.keys()]).toEqual(["model.onnx_data"]);
    const encoder = await GraphEncoder.ofTensors(await openGraph(files), declared, PLAIN);
    expect(valuesOf((await encoder.run([of(1, 0, 2)]))[0])).toEqual([11, 14]);
    await encoder.release();
    await expect(openGraph({ graph: apart, weights: NONE })).rejects.toThrow(
      "its weights are in model.onnx_data, which files do not name",
    );
    await expect(
      openGraph({ ...files, weights: new Map([["model.onnx_data", data.subarray(0, 30)]]) }),
    ).rejects.toThrow("cannot be read as an ONNX graph");
  });
});
