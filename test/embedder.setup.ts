// Before tests inside workerd: the embedder's Worker, which runs beside the sources as it is built, is what the sources say.

import { buildEmbedderWords } from "../scripts/build.mjs";

export default async function setup(): Promise<void> {
  await buildEmbedderWords();
}
