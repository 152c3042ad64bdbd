// Routes of changes of the storage nodes: /v1/cluster/nodes and /v1/cluster/operations.
import { z } from "@hono/zod-openapi";
import { type RingOperationInfo, type RingOrder, unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf } from "../access/api-key.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import { reading, writing } from "./errors.ts";
import { defineRoute, type Route } from "./route.ts";

/** Bounds of a node's weight: places are 128 for each 1 of it. */
const MIN_WEIGHT = 0.1;
const MAX_WEIGHT = 16;
const MAX_GRACE_SECONDS = 30 * 86_400;
const MAX_KEYS_PER_SECOND = 10_000_000;

const weight = z.number().min(MIN_WEIGHT).max(MAX_WEIGHT).describe("Share of the data, beside other nodes' weights.");
const nodeIdText = z.string().regex(/^[A-Za-z0-9@._-]{1,64}$/, "must be the id of a storage node, such as n4");

const bounds = {
  graceSeconds: z
    .int()
    .min(0)
    .max(MAX_GRACE_SECONDS)
    .optional()
    .describe("How long former replicas keep their copies; else `keyValue.ringGraceSeconds`."),
  keysPerSecond: z
    .int()
    .min(1)
    .max(MAX_KEYS_PER_SECOND)
    .optional()
    .describe("Keys that each node compares in a second at most; else `keyValue.ringKeysPerSecond`."),
};

const queryNumber = (max: number, min: number) => z.coerce.number().int().min(min).max(max).optional();

const operationShape = z.object({
  operationId: z.number(),
  kind: z.enum(["add", "remove", "replace", "weigh"]),
  nodeId: z.string(),
  otherIds: z.array(z.string()).describe("Nodes that leave with it."),
  joiningId: z.string().nullable().describe("The node that is new; null = none."),
  weight: z.number().nullable(),
  state: z
    .enum(["waiting", "filling", "joint", "switching", "cleaning", "finished", "cancelled", "rolledBack", "failed"])
    .describe(
      "`filling`: new replicas get writes and are filled; `joint`: quorums of old and new; `cleaning`: data has moved, former copies go after the grace period.",
    ),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
  reason: z.string().describe("Why it was called off, or failed."),
  waitingFor: z.string().describe("Why it does not get on; empty = it does."),
  graceSeconds: z.number(),
  keysPerSecond: z.number().nullable(),
  uncleaned: z.array(z.string()).describe("Nodes that were not reached to delete what they are no replicas of."),
  progress: z.object({
    nodesDone: z.number(),
    nodeCount: z.number(),
    rangesDone: z.number(),
    rangeCount: z.number(),
    keysCompared: z.number(),
    keysMoved: z.number(),
    bytesMoved: z.number(),
  }),
});

const nodeParams = z.strictObject({ id: nodeIdText });
const operationParams = z.strictObject({
  id: z.string().regex(/^[0-9]{1,15}$/, "must be the number of an operation"),
});

const isoOf = (atMs: number | null): string | null => (atMs === null ? null : new Date(atMs).toISOString());

function shown({
  createdAtMs,
  startedAtMs,
  finishedAtMs,
  ...info
}: RingOperationInfo): z.output<typeof operationShape> {
  const times = {
    createdAt: new Date(createdAtMs).toISOString(),
    startedAt: isoOf(startedAtMs),
    finishedAt: isoOf(finishedAtMs),
  };
  return { ...info, ...times, otherIds: [...info.otherIds], uncleaned: [...info.uncleaned] };
}

const ERRORS = ["conflict", "notFound", "idempotencyKeyReused", "unknownOutcome"] as const;
const BODY_ERRORS = [...ERRORS, "malformedJson", "unsupportedMediaType"] as const;

async function order(call: Call, mutation: Parameters<typeof ordered>[1], of: RingOrder): Promise<Response> {
  return ordered(call, mutation, call.services.stubs.directory().changeRing(of, mutation));
}

async function ordered(
  call: Call,
  mutation: { readonly writeId: Uint8Array; readonly bodyHash: string },
  work: Promise<Parameters<typeof unwrap<RingOperationInfo>>[0]>,
): Promise<Response> {
  const info = unwrap(await writing(work, "Directory", { writeIdHex: hexOf(mutation.writeId) }));
  return success(call, { status: 202, message: "accepted", data: shown(info) });
}

const addNode = defineRoute({
  method: "post",
  path: "/v1/cluster/nodes",
  summary: "Add a storage node; its share of the data moves behind the answer",
  access: "root",
  body: z.strictObject({
    nodeId: nodeIdText.optional().describe("Only the next one is possible; numbers of nodes are never used again."),
    zone: z.string().min(1).max(64).optional().describe("Where it is at home; else the zone with the least weight."),
    weight: weight.default(1),
    ...bounds,
  }),
  data: operationShape,
  successStatus: 202,
  errors: [...BODY_ERRORS, "alreadyExists"],
  handle: (call, { body, mutation }) => order(call, mutation, { kind: "add", ...body }),
});

const weighNode = defineRoute({
  method: "patch",
  path: "/v1/cluster/nodes/{id}",
  summary: "Give a storage node another weight; data moves behind the answer",
  access: "root",
  params: nodeParams,
  body: z.strictObject({ weight, ...bounds }),
  data: operationShape,
  successStatus: 202,
  errors: BODY_ERRORS,
  handle: (call, { params, body, mutation }) => order(call, mutation, { kind: "weigh", nodeId: params.id, ...body }),
});

const replaceNode = defineRoute({
  method: "post",
  path: "/v1/cluster/nodes/{id}/replace",
  summary: "Put a new storage node in the place of one; data moves behind the answer",
  access: "root",
  params: nodeParams,
  body: z.strictObject(bounds),
  data: operationShape,
  successStatus: 202,
  errors: BODY_ERRORS,
  handle: (call, { params, body, mutation }) => order(call, mutation, { kind: "replace", nodeId: params.id, ...body }),
});

const removeNode = defineRoute({
  method: "delete",
  path: "/v1/cluster/nodes/{id}",
  summary: "Decommission a storage node; its data moves to others behind the answer",
  access: "root",
  params: nodeParams,
  query: z.strictObject({
    graceSeconds: queryNumber(MAX_GRACE_SECONDS, 0),
    keysPerSecond: queryNumber(MAX_KEYS_PER_SECOND, 1),
  }),
  data: operationShape,
  successStatus: 202,
  errors: ERRORS,
  handle: (call, { params, query, mutation }) => order(call, mutation, { kind: "remove", nodeId: params.id, ...query }),
});

const listOperations = defineRoute({
  method: "get",
  path: "/v1/cluster/operations",
  summary: "List the last hundred changes of the storage nodes, newest first",
  access: "root",
  data: z.object({ items: z.array(operationShape) }),
  errors: [],
  async handle(call) {
    const infos = await reading(call.services.stubs.directory().listOperations(), "Directory");
    return success(call, { message: "listed", data: { items: infos.map(shown) } });
  },
});

const getOperation = defineRoute({
  method: "get",
  path: "/v1/cluster/operations/{id}",
  summary: "Show how far a change of the storage nodes is",
  access: "root",
  params: operationParams,
  data: operationShape,
  errors: ["notFound"],
  async handle(call, { params }) {
    const info = await reading(call.services.stubs.directory().describeOperation(Number(params.id)), "Directory");
    if (!info) throw new PublicError("notFound", `there is no operation ${params.id}`);
    return success(call, { message: "found", data: shown(info) });
  },
});

const cancelOperation = defineRoute({
  method: "delete",
  path: "/v1/cluster/operations/{id}",
  summary: "Call a change of the storage nodes off; it is rolled back behind the answer",
  access: "root",
  params: operationParams,
  data: operationShape,
  successStatus: 202,
  errors: ERRORS,
  handle: (call, { params, mutation }) =>
    ordered(call, mutation, call.services.stubs.directory().cancelOperation(Number(params.id), mutation)),
});

export const clusterNodeRoutes: readonly Route[] = [
  addNode,
  weighNode,
  replaceNode,
  removeNode,
  listOperations,
  getOperation,
  cancelOperation,
];
