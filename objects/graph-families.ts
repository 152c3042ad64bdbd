// Models in ONNX of images, as Hugging Face lays them out (`model.onnx`, `preprocessor_config.json`), and of any declared inputs; for embedders whose
// entry imports this.
import { GraphEncoder } from "../src/embedding/graph/encoder.ts";
import { graphFiles, jsonOf } from "../src/embedding/graph/files.ts";
import { requireDeclared } from "../src/embedding/graph/tensors.ts";
import { PREPROCESSOR_FILE, preprocessorOf } from "../src/embedding/image/preprocessor.ts";
import type { ModelParameters } from "../src/embedding/model.ts";
import { bringFamily } from "./embedder-families.ts";
import { heldModel, opened } from "./graph-model.ts";
import { decodeImage } from "./image-decoder.ts";

/** Vision transformers put what they saw into the first vector; of other rows of vectors the mean is taken. */
const optionsOf = ({ pooling, normalize }: ModelParameters, unsaid: "mean" | "cls") =>
  ({ pooling: pooling === "mean" || pooling === "cls" ? pooling : unsaid, normalize }) as const;

bringFamily("image", async ({ key, definition: { parameters }, files }) => {
  const how = { ...preprocessorOf(jsonOf(PREPROCESSOR_FILE, files.get(PREPROCESSOR_FILE))), decode: decodeImage };
  const graph = graphFiles(files);
  const options = optionsOf(parameters, "cls");
  return heldModel(key, graph, await opened(graph, (session) => GraphEncoder.ofImages(session, how, options)));
});

bringFamily("tensor", async ({ key, definition: { parameters, inputs }, files }) => {
  const graph = graphFiles(files);
  const declared = requireDeclared(inputs);
  const options = optionsOf(parameters, "mean");
  return heldModel(key, graph, await opened(graph, (session) => GraphEncoder.ofTensors(session, declared, options)));
});
