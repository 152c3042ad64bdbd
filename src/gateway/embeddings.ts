// POST /v1/embeddings: texts, images and tensors to vectors, without storing anything.
// Guarantees: all of them or none; each beyond the first counts as one request more.
import type { z } from "@hono/zod-openapi";
import { admitMore } from "./access.ts";
import { successText } from "./answers.ts";
import { configRoute } from "./config-route.ts";
import { itemOfFields, type PlacedItem } from "./embed-items.ts";
import { EMBED_ERRORS, requireVectors } from "./embedding-call.ts";
import * as schemas from "./embedding-schemas.ts";
import { invalidRequest } from "./issues.ts";
import { MAX_EMBED_BODY_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";
import { shownFloats } from "./vector-fields.ts";

type Input = z.output<typeof schemas.embeddingsBody>["input"];

function placed(input: Exclude<Input, readonly unknown[]>, path: string): PlacedItem {
  const names = { text: path, image: `${path}.image`, tensor: `${path}.tensor` };
  const item = itemOfFields(typeof input === "string" ? { text: input } : input, names);
  if (item) return item;
  throw invalidRequest([{ path, message: "must be a text, or have image or tensor" }]);
}

export const embeddingsRoute: Route = configRoute({
  method: "post",
  path: "/v1/embeddings",
  summary: "Make vectors of texts, images or tensors",
  scope: "read-only",
  query: schemas.noQuery,
  body: schemas.embeddingsBody,
  maxBodyBytes: MAX_EMBED_BODY_BYTES,
  data: schemas.embeddingsShape,
  errors: EMBED_ERRORS,
  async handle(call, { body: { input, model }, principal, keyspace: { tenant } }) {
    const items = Array.isArray(input) ? input.map((one, at) => placed(one, `input[${at}]`)) : [placed(input, "input")];
    await admitMore(call, principal, items.length - 1);
    const [texts, paths] = [items.map(({ item }) => item), items.map(({ path }) => path)];
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
