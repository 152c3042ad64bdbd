// GET /v1/storage-nodes: the ring's members as the Directory has them.
import type { StorageNode } from "../access/types.ts";
import { success } from "./answers.ts";
import { afterCursor, pageOf, pageQuery } from "./cursor.ts";
import { reading } from "./errors.ts";
import { invalidRequest } from "./issues.ts";
import { defineRoute } from "./route.ts";
import { nodeShape, pageShape } from "./schemas.ts";

const NODE_NUMBER = /^[0-9]{1,7}$/;

export function shownNode({ id, zone, weight, state, incarnation }: StorageNode): Record<string, unknown> {
  return { nodeId: id, zone, weight, state, incarnation };
}

export const listStorageNodes = defineRoute({
  method: "get",
  path: "/v1/storage-nodes",
  summary: "List the storage nodes",
  access: "root",
  query: pageQuery,
  data: pageShape(nodeShape),
  errors: [],
  async handle(call, { query }) {
    const after = afterCursor(query.cursor) || "0";
    if (!NODE_NUMBER.test(after)) throw invalidRequest([{ path: "cursor", message: "is not one of this list" }]);
    const { nodes } = await reading(call.services.stubs.directory().view(), "Directory");
    const rows = nodes.filter((node) => node.number > Number(after)).slice(0, query.limit + 1);
    const data = pageOf(rows, query.limit, { name: (node) => String(node.number), item: shownNode });
    return success(call, { message: "listed", data });
  },
});
