// The zod schemas of /v1/databases/…/reembed.
import { z } from "@hono/zod-openapi";
import { modelId } from "./embedding-schemas.ts";

export const reembedBody = z.strictObject({
  model: modelId.openapi({ description: "What makes the vectors from here on.", example: "minilm" }),
  textField: z.string().min(1).max(200).default("text").openapi({
    description: "The metadata field that holds each row's text.",
  }),
  onMissing: z.enum(["fail", "drop"]).default("fail").openapi({
    description:
      "A row without a text that the model can embed: the job fails and the database stays as it is (fail), or the row is left behind at the switch (drop).",
  }),
});

export type ReembedBody = z.output<typeof reembedBody>;

const number = z.number();
export const reembeddingShape = z.object({
  jobId: z.string(),
  model: z.string(),
  vectorDimension: number,
  textField: z.string(),
  onMissing: z.enum(["fail", "drop"]),
  state: z.enum(["running", "switching", "done", "failed", "cancelled"]).openapi({
    description: "switching: writes are held up (503) while what changed last is made.",
  }),
  rows: number.openapi({ description: "Of the database, when they were last counted." }),
  embedded: number.openapi({ description: "Vectors made, those of rows that changed meanwhile each time." }),
  missing: number.openapi({ description: "Rows that have no text, or none with a vector." }),
  progress: number,
  message: z.string().openapi({ description: "Why it failed, or what it waits for." }),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
});
