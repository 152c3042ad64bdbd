// Before tests that import dist/wasm: the kernels are what wasm/ says.

import { buildWasm } from "../scripts/build-wasm.mjs";

export default async function setup(): Promise<void> {
  await buildWasm();
}
