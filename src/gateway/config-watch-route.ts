// GET /v1/config/watch: a WebSocket of our protocol (many watches), one of JSON texts (a watch from the query to begin with), or
// server-sent events (that one watch).
import { z } from "@hono/zod-openapi";
import { WATCH_SUBPROTOCOL, type WatchOptions } from "../wire/config-watch.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { Call } from "./call.ts";
import { rangeFrom } from "./config-fields.ts";
import { namespaceName } from "./config-schemas.ts";
import { upgradeConfigWatch } from "./config-watch.ts";
import { watchEvents } from "./config-watch-events.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { parseQuery } from "./query.ts";
import type { Route } from "./route.ts";
import { authenticateUpgrade, isUpgrade, offeredProtocols } from "./upgrade.ts";

const flag = (description: string) => z.enum(["true", "false"]).optional().openapi({ description });
const bound = (description: string) => z.string().optional().openapi({ description });

const watchQuery = z.strictObject({
  namespace: namespaceName.default("default"),
  key: bound("Watches this key."),
  prefix: bound("Watches all keys that begin with it; empty = all keys."),
  start: bound("Watches the keys from here on…"),
  end: bound("…to before here."),
  keyEncoding: z.enum(["utf8", "base64"]).default("utf8"),
  startRevision: z
    .string()
    .regex(/^[0-9]{1,16}$/, "must be a whole number")
    .optional()
    .openapi({ description: "The first revision to hear of, past ones too. Default: the next." }),
  prevKv: flag("Each event brings the version before."),
  noPut: flag("Leaves puts out."),
  noDelete: flag("Leaves deletions out."),
  progressNotify: flag("Tells the revision now and then while nothing happens."),
  fragment: flag("Splits the events of a large revision over several messages."),
});

type WatchQuery = z.output<typeof watchQuery>;

function optionsOf(query: WatchQuery): WatchOptions | undefined {
  const range = rangeFrom(query, query.keyEncoding);
  if (!range) return undefined;
  const isOn = (name: "prevKv" | "noPut" | "noDelete" | "progressNotify" | "fragment"): boolean =>
    query[name] === "true";
  return {
    key: range.key,
    rangeEnd: range.rangeEnd,
    startRevision: Number(query.startRevision ?? 0),
    prevKv: isOn("prevKv"),
    noPut: isOn("noPut"),
    noDelete: isOn("noDelete"),
    progressNotify: isOn("progressNotify"),
    fragment: isOn("fragment"),
  };
}

function requireStart({ startRevision }: WatchQuery): void {
  if (startRevision === undefined || Number.isSafeInteger(Number(startRevision))) return;
  throw invalidRequest([{ path: "startRevision", message: "is more than any revision", value: startRevision }]);
}

async function watch(call: Call): Promise<Response> {
  const { request } = call;
  const principal = await authenticateUpgrade(call);
  const query = parseWith(watchQuery, parseQuery(call.url.search));
  requireStart(query);
  const keyspace = { tenant: principal.caller.tenant, namespace: query.namespace };
  const create = optionsOf(query);
  if (isUpgrade(request)) {
    const encoding = offeredProtocols(request).includes(WATCH_SUBPROTOCOL) ? "binary" : "json";
    return upgradeConfigWatch(call, principal, keyspace, { encoding, create, mayBeCopy: true });
  }
  if (!request.headers.get("accept")?.includes("text/event-stream"))
    throw new PublicError(
      "upgradeRequired",
      "ask for a WebSocket, or for server-sent events by Accept: text/event-stream",
    );
  if (!create) throw invalidRequest([{ path: "key", message: "is required: key, prefix, or start with end" }]);
  const last = request.headers.get("last-event-id");
  if (last !== null && !/^[0-9]{1,15}$/.test(last))
    throw invalidRequest([{ path: "Last-Event-ID", message: "is not a revision", value: last.slice(0, 40) }]);
  return watchEvents(
    call,
    principal,
    keyspace,
    last === null ? create : { ...create, startRevision: Number(last) + 1 },
  );
}

export const configWatchRoute: Route = {
  method: "get",
  path: "/v1/config/watch",
  summary:
    "Watch keys: a WebSocket that carries many watches (src/wire/config-watch.ts), or one watch as JSON messages or server-sent events",
  access: "data",
  query: watchQuery,
  errors: ["upgradeRequired", "overloaded", "unavailable"],
  run: watch,
};
