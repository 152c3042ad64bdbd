// Non-script modules of the Worker: how `.wasm` and `.sql` imports are typed (esbuild, wrangler and vitest all load them so).

declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

declare module "*.sql" {
  const text: string;
  export default text;
}

declare module "*.jwv" {
  const bytes: ArrayBuffer;
  export default bytes;
}

declare module "*/dist/ort/ort.mjs" {
  /** Of onnxruntime-web/wasm; objects/onnx-runtime.ts gives it its types. */
  export const InferenceSession: unknown;
}
