// onnxruntime in workerd: one instance an isolate, one thread, its WebAssembly imported as a module (scripts/build-ort.mjs).
// Guarantees: a graph that cannot be read is refused, not thrown as an unknown error. Must not: be imported by what does not run graphs: 14 MB.
import type * as Ort from "onnxruntime-web/wasm";
import * as patched from "../dist/ort/ort.mjs";
import ortModule from "../dist/ort/ort.wasm";
import type { GraphFiles } from "../src/embedding/graph/files.ts";
import type { Feed, GraphInput, Numbers, OnnxSession } from "../src/embedding/graph/session.ts";
import { badFile } from "../src/embedding/refusal.ts";

/** Patched, with the package's types. */
const ort = patched as unknown as typeof Ort;

type Done = (instance: WebAssembly.Instance, module: WebAssembly.Module) => void;

/** Emscripten asks this for its instance; compiling bytes is not allowed in workerd. */
const instantiate = (imports: WebAssembly.Imports, done: Done): object => {
  void WebAssembly.instantiate(ortModule, imports).then((instance) => done(instance, ortModule));
  return {};
};
Object.assign(globalThis, { [Symbol.for("ort.instantiateWasm")]: instantiate });
ort.env.wasm.numThreads = 1;
ort.env.wasm.proxy = false;
ort.env.logLevel = "error";
// Only has to be there: it keeps the package from looking for a file beside its script.
ort.env.wasm.wasmBinary = new ArrayBuffer(8);

/** @throws EmbeddingRefusal */
export async function openGraph({ graph, weights }: Pick<GraphFiles, "graph" | "weights">): Promise<OnnxSession> {
  let session: Ort.InferenceSession;
  try {
    const externalData = [...weights].map(([path, data]) => ({ path, data }));
    const options = { executionProviders: ["wasm"], logSeverityLevel: 3 as const, externalData };
    session = await ort.InferenceSession.create(graph, options);
  } catch (error) {
    throw badFile(`cannot be read as an ONNX graph (${reasonOf(error)})`);
  }
  return {
    inputs: session.inputMetadata.map(inputOf),
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    release: () => session.release(),
    run: async (inputs) => {
      const feeds = Object.entries(inputs).map(([name, feed]) => [name, tensorOf(feed)]);
      const outputs = await session.run(Object.fromEntries(feeds));
      return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, numbersOf(name, tensor)]));
    },
  };
}

function reasonOf(error: unknown): string {
  const why = error instanceof Error ? error.message : String(error);
  const missing = /external data file[: "]*([\w.-]+)/i.exec(why);
  return missing ? `its weights are in ${missing[1]}, which files do not name` : why.slice(0, 200);
}

function inputOf(input: Ort.InferenceSession.ValueMetadata): GraphInput {
  return input.isTensor
    ? { name: input.name, type: input.type, shape: input.shape }
    : { name: input.name, type: "", shape: [] };
}

function tensorOf({ type, data, dims }: Feed): Ort.Tensor {
  return type ? new ort.Tensor(type, data as never, dims) : new ort.Tensor(data as never, dims);
}

/** Copied: the tensor may lie in the runtime's memory. */
function numbersOf(name: string, tensor: Ort.Tensor): Numbers {
  const { data, dims } = tensor;
  if (!(data instanceof Float32Array)) throw badFile(`gives ${name} as ${tensor.type}; float32 is needed`);
  const copy = { data: data.slice(), dims: [...dims] };
  tensor.dispose();
  return copy;
}
