// The fields that calls of `client.config` know. Over HTTP the server refuses others; what a session carries has no room for them.
// Guarantees: the error that HTTP gives, so that a misspelt field is never taken for one left out. Must not: judge numbers and keys.
import { JadeError } from "./errors.ts";

const CALL = ["signal", "timeoutMs"];
const WRITE = [...CALL, "writeId"];
const CONDITIONS = ["ifModRevision", "ifVersion", "ifValue"];
const PUT_FIELDS = ["leaseId", "sequential", "prevKv", "ignoreLease"];
const PLACE = ["prefix", "start", "end"];
const FRESHNESS = ["as", "consistency", "maxStalenessMs"];
const REVISIONS = ["minModRevision", "maxModRevision", "minCreateRevision", "maxCreateRevision"];
const RANGE_FIELDS = [
  ...[...PLACE, ...REVISIONS, "limit", "keysOnly", "countOnly", "withCount"],
  ...["sort", "order", "revision", "delimiter"],
];

const KNOWN = {
  put: new Set([...WRITE, ...CONDITIONS, ...PUT_FIELDS, "ifAbsent", "as"]),
  get: new Set([...CALL, ...FRESHNESS, "revision", "keysOnly"]),
  delete: new Set([...WRITE, ...CONDITIONS, "prevKv", "as"]),
  range: new Set([...CALL, ...FRESHNESS, ...RANGE_FIELDS, "cursor"]),
  place: new Set(PLACE),
  txnPut: new Set(PUT_FIELDS),
  txnGet: new Set(["revision", "keysOnly"]),
  txnRange: new Set(RANGE_FIELDS),
  txnDelete: new Set(["prevKv"]),
} as const;

const FLAGS: ReadonlySet<string> = new Set([
  ...["ifAbsent", "sequential", "prevKv", "ignoreLease"],
  ...["keysOnly", "countOnly", "withCount"],
]);

interface Issue {
  readonly path: string;
  readonly message: string;
}

function* issuesOf(fields: object, known: ReadonlySet<string>, at: string): Generator<Issue> {
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const path = at === "" ? name : `${at}.${name}`;
    if (!known.has(name)) yield { path, message: "is not a known field" };
    else if (FLAGS.has(name) && typeof value !== "boolean") yield { path, message: "must be of type boolean" };
  }
}

/** Throws `invalidRequest`. `at`: where the fields stand. */
export function requireKnown(fields: object, kind: keyof typeof KNOWN, at = ""): void {
  const issues = [...issuesOf(fields, KNOWN[kind], at)];
  const [first] = issues;
  if (!first) return;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  throw new JadeError("invalidRequest", `${first.path} ${first.message}${more}`, { details: { issues } });
}
