// POST /v1/embeddings: texts to vectors, without storing anything.
// Guarantees: all texts or none; each text beyond the first counts as one request more.
import { admitMore } from "./access.ts";
import { successText } from "./answers.ts";
import { configRoute } from "./config-route.ts";
import { EMBED_ERRORS, requireVectors } from "./embedding-call.ts";
import * as schemas from "./embedding-schemas.ts";
import { MAX_EMBED_BODY_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";
import { shownFloats } from "./vector-fields.ts";

export const embeddingsRoute: Route = configRoute({
  method: "post",
  path: "/v1/embeddings",
  summary: "Make vectors of texts",
  scope: "read-only",
  query: schemas.noQuery,
  body: schemas.embeddingsBody,
  maxBodyBytes: MAX_EMBED_BODY_BYTES,
  data: schemas.embeddingsShape,
  errors: EMBED_ERRORS,
  async handle(call, { body: { input, model }, principal, keyspace: { tenant } }) {
    const texts = typeof input === "string" ? [input] : input;
    const paths = typeof input === "string" ? ["input"] : input.map((_, at) => `input[${at}]`);
    await admitMore(call, principal, texts.length - 1);
    const vectors = await requireVectors(call, { tenant, modelId: model, texts, paths });
    const embeddings = vectors.map(
      ({ values, tokens, unknownTokens }) =>
        `{"values":${shownFloats(values)},"tokens":${tokens},"unknownTokens":${unknownTokens}}`,
    );
    const dimension = vectors[0]!.values.length / 4;
    const data = `{"model":${JSON.stringify(model)},"dimension":${dimension},"embeddings":[${embeddings.join(",")}]}`;
    return successText(call, { message: "embedded", data });
  },
});
