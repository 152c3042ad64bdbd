// The zod schemas of /v1/databases/…/imports.
import { z } from "@hono/zod-openapi";
import { databaseParams } from "./database-schemas.ts";
import { batchBody } from "./vector-schemas.ts";

export const importParams = z.strictObject({ ...databaseParams.shape, id: z.string() });
export const importBody = z.strictObject({ vectors: batchBody.shape.vectors });

const number = z.number();
export const importShape = z.object({
  importId: z.string(),
  state: z.enum(["staged", "queued", "running", "done", "failed", "cancelled"]).openapi({
    description:
      "staged: not all shards have begun; sent again under its Idempotency-Key it goes on, else it is forgotten. failed: what waited on disk is damaged.",
  }),
  total: number,
  stored: number,
  failed: number.openapi({ description: "Vectors that were refused; `errors` tells the first hundred of each shard." }),
  progress: number.openapi({ description: "0 to 1." }),
  errors: z.array(z.object({ index: number, id: z.string(), code: z.string(), message: z.string() })),
  waitsFor: z.string().optional().openapi({ description: "Why it does not go on for the time being." }),
  createdAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
});
export const importsShape = z.object({ items: z.array(importShape) });
