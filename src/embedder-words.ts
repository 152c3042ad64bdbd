// The embedder's Worker without transformers: a small bundle, for accounts whose Workers may have 3 MB, and for tests. Nothing else.
export { Embedder } from "../objects/embedder.ts";
export { EmbedderService, EmbedderService as default } from "../objects/embedder-service.ts";
export { ModelRunner } from "../objects/model-runner.ts";
