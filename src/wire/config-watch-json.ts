// The same watch protocol as text, for clients without our codec: one JSON object a WebSocket message (or server-sent event).
// Requests {"create": {key | prefix | start, end, …}}, {"cancel": {"watchId"}}, {"progress": {}}, {"pong": mark}; messages have a
// `type`. Guarantees: keys that are not UTF-8 and values that are not JSON are base64 and say so. Must not: hold a connection.
import { MalformedBytes } from "./bytes.ts";
import type { ConfigEvent, KeyRange, KeyValue } from "./config.ts";
import { bytesOfKey, keyOfBytes, keyOfText, NO_END, prefixRange } from "./config-keys.ts";
import type { WatchId, WatchMessage, WatchRequest } from "./config-watch.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined; // not UTF-8: base64
  }
}

function keyMembers(key: string): string {
  const text = textOf(bytesOfKey(key));
  return text === undefined ? `"key":"${btoa(key)}","keyEncoding":"base64"` : `"key":${JSON.stringify(text)}`;
}

function valueMembers(value: Uint8Array): string {
  const text = textOf(value);
  if (text !== undefined) {
    try {
      JSON.parse(text);
      return `"value":${text}`;
    } catch {
      // Not JSON.
    }
  }
  return `"value":"${btoa(keyOfBytes(value))}","valueEncoding":"base64"`;
}

function keyValueJson({ key, createRevision, modRevision, version, lease, value }: KeyValue): string {
  const meta = `"createRevision":${createRevision},"modRevision":${modRevision},"version":${version}`;
  return `{${keyMembers(key)},${meta}${lease === "" ? "" : `,"leaseId":"${lease}"`},${valueMembers(value)}}`;
}

export function watchEventJson({ type, kv, prevKv }: ConfigEvent): string {
  const what =
    type === "put" ? `"kv":${keyValueJson(kv)}` : `"kv":{${keyMembers(kv.key)},"modRevision":${kv.modRevision}}`;
  return `{"type":"${type}",${what}${prevKv ? `,"prevKv":${keyValueJson(prevKv)}` : ""}}`;
}

/** `events`: the JSON of each, joined. */
export function watchEventsJson(
  { header, fragment }: Pick<Extract<WatchMessage, { kind: "events" }>, "header" | "fragment">,
  watchId: WatchId,
  events: string,
): string {
  const { revision, term } = header;
  return `{"type":"events","watchId":${watchId},"revision":${revision},"term":${term}${fragment ? ',"fragment":true' : ""},"events":[${events}]}`;
}

export function watchMessageJson({ kind, header, ...rest }: Exclude<WatchMessage, { kind: "events" }>): string {
  return JSON.stringify({ type: kind, ...header, ...rest });
}

/** Throws MalformedBytes with what is wrong. */
export function parseWatchRequest(text: string): WatchRequest {
  const request = objectOf(parsed(text), "the request");
  const [name, ...others] = Object.keys(request);
  if (others.length > 0) throw new MalformedBytes("a request has one of create, cancel, progress and pong");
  switch (name) {
    case "create":
      return createOf(objectOf(request["create"], "create"));
    case "cancel":
      return { kind: "cancel", watchId: wholeOf(objectOf(request["cancel"], "cancel")["watchId"], "cancel.watchId") };
    case "progress":
      return { kind: "progress" };
    case "pong":
      return { kind: "pong", mark: wholeOf(request["pong"], "pong") };
    default:
      throw new MalformedBytes("a request has one of create, cancel, progress and pong");
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new MalformedBytes("a request is not JSON");
  }
}

function objectOf(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new MalformedBytes(`${name} is not an object`);
}

function wholeOf(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new MalformedBytes(`${name} is not a whole number`);
}

const FLAGS = ["prevKv", "noPut", "noDelete", "progressNotify", "fragment"] as const;
const CREATE_FIELDS: ReadonlySet<string> = new Set([
  ...FLAGS,
  ...["key", "prefix", "start", "end", "keyEncoding", "startRevision", "watchId"],
]);

function createOf(fields: Readonly<Record<string, unknown>>): WatchRequest {
  for (const name of Object.keys(fields))
    if (!CREATE_FIELDS.has(name)) throw new MalformedBytes(`create.${name.slice(0, 40)} is unknown`);
  const flags = Object.fromEntries(FLAGS.map((name) => [name, fields[name] === true]));
  const { startRevision = 0, watchId } = fields;
  return {
    kind: "create",
    ...flags,
    ...rangeOf(fields),
    startRevision: wholeOf(startRevision, "create.startRevision"),
    watchId: watchId === undefined ? undefined : wholeOf(watchId, "create.watchId"),
  };
}

function rangeOf(fields: Readonly<Record<string, unknown>>): KeyRange {
  const isBase64 = fields["keyEncoding"] === "base64";
  const bound = (name: string): string | undefined => {
    const value = fields[name];
    if (value === undefined) return undefined;
    if (typeof value !== "string") throw new MalformedBytes(`create.${name} is not a string`);
    if (!isBase64) return keyOfText(value);
    try {
      return atob(value);
    } catch {
      throw new MalformedBytes(`create.${name} is not base64`);
    }
  };
  const [key, prefix, start, end] = ["key", "prefix", "start", "end"].map(bound);
  if ([key, prefix, start ?? end].filter((value) => value !== undefined).length !== 1)
    throw new MalformedBytes("create names one of key, prefix, and start with end");
  if (key !== undefined) return { key, rangeEnd: "" };
  if (prefix !== undefined) return prefixRange(prefix);
  return { key: start || "\0", rangeEnd: end || NO_END };
}
