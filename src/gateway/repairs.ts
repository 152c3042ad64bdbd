// Routes of repairs: /v1/repairs and /v1/repairs/{id}.
import { z } from "@hono/zod-openapi";
import { type RepairInfo, unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf } from "../access/api-key.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import { reading, writing } from "./errors.ts";
import { defineRoute } from "./route.ts";

const kinds = ["full", "incremental"] as const;

const repairShape = z.object({
  repairId: z.number(),
  kind: z.enum(kinds),
  state: z.enum(["running", "finished"]),
  startedAt: z.string(),
  finishedAt: z.string().nullable(),
  nodesDone: z.number(),
  nodeCount: z.number(),
  rowsCompared: z.number(),
  rowsRepaired: z.number(),
  rowsUnreadable: z.number(),
  rowsRead: z.number().describe("Rows that were read for it, of each range at the replica that read most."),
  rangesLeftOut: z.number().describe("Of an incremental repair: ranges of which a replica was away."),
  waitingFor: z.string(),
  purge: z
    .object({
      state: z.enum(["settling", "draining", "fading", "telling", "dropping", "finished"]),
      before: z.string(),
      waitingFor: z.string(),
    })
    .nullable()
    .describe("Rows of keys deleted before this time go after the repair; null = none, or the repair is not over."),
});

const repairParams = z.strictObject({
  id: z.string().regex(/^[0-9]{1,15}$/, "must be the number of a repair"),
});

function shownRepair(info: RepairInfo): Record<string, unknown> {
  const { repairId, kind, startedAtMs, finishedAtMs, progress, purge } = info;
  return {
    repairId,
    kind,
    state: finishedAtMs === null ? "running" : "finished",
    startedAt: new Date(startedAtMs).toISOString(),
    finishedAt: finishedAtMs === null ? null : new Date(finishedAtMs).toISOString(),
    ...{ ...progress, rowsRead: progress.rowsRead ?? 0, rangesLeftOut: progress.rangesLeftOut ?? 0 },
    purge: purge && {
      state: purge.state,
      before: new Date(purge.beforeMs).toISOString(),
      waitingFor: purge.waitingFor,
    },
  };
}

export const startRepair = defineRoute({
  method: "post",
  path: "/v1/repairs",
  summary: "Compare all replicas of all keys and bring them to agreement; goes on behind the answer",
  access: "root",
  body: z.strictObject({
    kind: z
      .enum(kinds)
      .default("full")
      .describe("incremental: only what was written since replicas compared last, where all of them answer."),
  }),
  data: repairShape,
  successStatus: 201,
  errors: ["conflict", "idempotencyKeyReused", "unknownOutcome", "malformedJson", "unsupportedMediaType"],
  async handle(call, { mutation, body }) {
    const work = call.services.stubs.directory().startRepair(mutation, body.kind);
    const info = unwrap(await writing(work, "Directory", { writeIdHex: hexOf(mutation.writeId) }));
    return success(call, { status: 201, message: "started", data: shownRepair(info) });
  },
});

export const listRepairs = defineRoute({
  method: "get",
  path: "/v1/repairs",
  summary: "List the last hundred repairs, newest first",
  access: "root",
  data: z.object({ items: z.array(repairShape) }),
  errors: [],
  async handle(call) {
    const infos = await reading(call.services.stubs.directory().listRepairs(), "Directory");
    return success(call, { message: "listed", data: { items: infos.map(shownRepair) } });
  },
});

export const getRepair = defineRoute({
  method: "get",
  path: "/v1/repairs/{id}",
  summary: "Show how far a repair is",
  access: "root",
  params: repairParams,
  data: repairShape,
  errors: ["notFound"],
  async handle(call, { params }) {
    const info = await reading(call.services.stubs.directory().describeRepair(Number(params.id)), "Directory");
    if (!info) throw new PublicError("notFound", `there is no repair ${params.id}`);
    return success(call, { message: "found", data: shownRepair(info) });
  },
});
