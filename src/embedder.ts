// The embedder's Worker: its service and its object class. Apart from src/worker.ts because inference blocks its isolate, and because what
// runs models is larger than a free account's Worker may be. Nothing else.
import "../objects/graph-families.ts";
import "../objects/transformer-family.ts";

export { Embedder } from "../objects/embedder.ts";
export { EmbedderService, EmbedderService as default } from "../objects/embedder-service.ts";
export { ModelRunner } from "../objects/model-runner.ts";
