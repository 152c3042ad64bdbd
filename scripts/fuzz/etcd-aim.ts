// etcd's JSON gateway as the fuzzer sees it: its paths with the messages of the one table that serves both faces, and what its answers are
// judged by. Must not: ask for what waits for its turn or never ends (locks, campaigns, watches, observers).
import fc from "fast-check";
import { KEYSPACE_METHODS } from "../../src/etcd/methods.ts";
import type { FieldKind, MessageType, ResolvedField } from "../../src/etcd/schema.ts";
import { LOCK_METHODS, SERVICE_METHODS, SNAPSHOT_PATH } from "../../src/etcd/services.ts";
import type { Operation } from "./document.ts";

const WAITING = new Set(["/lock/lock", "/election/campaign"]);
const GRPC_UNIMPLEMENTED = 12;
const MAX_DEPTH = 3;
const NO_BODY: MessageType<unknown> = { name: "Empty", fields: [], byName: new Map(), byNumber: new Map() };

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const whole = (...numbers: readonly number[]): fc.Arbitrary<unknown> =>
  fc.oneof(fc.constantFrom(...numbers), fc.constantFrom(...numbers.map(String)));

/** Few keys and ids, so that requests meet; small times, so that leases go. */
function scalarOf(kind: FieldKind): fc.Arbitrary<unknown> {
  switch (kind) {
    case "bool":
      return fc.boolean();
    case "string":
      return fc.string({ maxLength: 8 });
    case "key":
      return fc.constantFrom(...["a", "b", "a/b", "c", "\0", "k\xff", "k".repeat(1025), ""].map(base64));
    case "bytes":
      return fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("base64"));
    case "id":
    case "uid":
      return whole(1, 2, 3, 0, -1, 2 ** 53);
    default:
      return whole(0, 1, 2, 5, 30, -1, 2 ** 31);
  }
}

function fieldOf(field: ResolvedField, depth: number): fc.Arbitrary<unknown> {
  const one =
    field.kind === "message"
      ? messageOf(field.type!(), depth + 1)
      : field.kind === "enum"
        ? fc.oneof(fc.constantFrom(...(field.values ?? []), "NONE_SUCH"), fc.integer({ min: 0, max: 6 }))
        : scalarOf(field.kind);
  return field.isRepeated ? fc.array(one, { maxLength: 3 }) : one;
}

function messageOf(type: MessageType<unknown>, depth = 0): fc.Arbitrary<Record<string, unknown>> {
  const fields = type.fields.filter(({ kind }) => kind !== "message" || depth < MAX_DEPTH);
  const model = Object.fromEntries(fields.map((field) => [field.name, fieldOf(field, depth)]));
  return fc.record(model, { requiredKeys: fields.filter(({ kind }) => kind === "key").map(({ name }) => name) });
}

function operation(path: string, request: MessageType<unknown>): Operation {
  return {
    ...{ method: "POST", path: `/v3${path}`, query: [], answers: new Map() },
    isOpen: path === "/auth/authenticate",
    body: messageOf(request),
    queryValues: fc.constant({}),
  };
}

export function etcdOperations(): readonly Operation[] {
  const keyspace = KEYSPACE_METHODS.flatMap(({ paths, request }) => paths.map((path) => operation(path, request)));
  const services = [...SERVICE_METHODS, ...LOCK_METHODS.filter((method) => !SERVICE_METHODS.includes(method))]
    .filter(({ path }) => !WAITING.has(path))
    .map(({ path, request }) => operation(path, request));
  return [...keyspace, ...services, operation(SNAPSHOT_PATH, NO_BODY)];
}

export const isEtcd = (operation: Operation | undefined): boolean => operation?.path.startsWith("/v3/") === true;

interface Asked {
  readonly status: number;
  readonly text: string;
  /** The Authorization header, if any, is one that the server must know, or the path takes none. */
  readonly mayPass: boolean;
}

/** What is wrong with an answer; no 5xx but 501 for what is not here, errors as etcd's gateway makes them. */
export function problemOfEtcd({ status, text, mayPass }: Asked): string | undefined {
  if (status < 300) return mayPass ? undefined : `status ${status} for a caller that is unknown`;
  if ((status === 404 || status === 405) && !text.startsWith("{")) return undefined;
  if (text === "") return status < 500 ? undefined : `status ${status}`;
  let json: { readonly error?: unknown; readonly code?: unknown; readonly message?: unknown };
  try {
    json = JSON.parse(text);
  } catch {
    return `status ${status} with a body that is no JSON: ${text.slice(0, 200)}`;
  }
  if (status >= 500 && !(status === 501 && json.code === GRPC_UNIMPLEMENTED)) return `status ${status}: ${text}`;
  // A request whose Host makes no URL has no path yet.
  if (status === 400 && (json as { status?: unknown }).status === "error" && text.includes('"path":"Host"'))
    return undefined;
  const isError = typeof json.error === "string" && json.error === json.message && typeof json.code === "number";
  return isError ? undefined : `the error is none of etcd's: ${text.slice(0, 300)}`;
}
