// Requests to /v1/config as their schemas allow them, made likely to get somewhere: few keys, leases and namespaces, and of the fields
// that exclude each other one. Must not: make them always right.
import type { Choices } from "./random.ts";

type Json = Record<string, unknown>;

/** Few: each is an object of its own. */
const NAMESPACES = ["default", "a", "b"];
export const LEASES = ["1", "2", "3", "0", "-1", "x", "9223372036854775807", "9223372036854775808", "01", "%00"];
export const LOCKS = ["l", "m", "a/b", "%2F", "%00", "n".repeat(1100)];
export const CONFIG_KEYS: readonly string[] = [
  ...["a", "b", "a/b", "/a", "a//", "%2e%2e", "..", "%ff", "%00", "%2F", "é", "a b", "YQ", "=", "k".repeat(1100)],
];
const PLACES: readonly (readonly string[])[] = [["key"], ["prefix"], ["start", "end"]];
const RARE = [
  "ifAbsent",
  "ifModRevision",
  "ifVersion",
  "ifValue",
  "sequential",
  "ignoreValue",
  "ignoreLease",
  "leaseId",
];

function keepOnePlace(fields: Json, choices: Choices): void {
  const given = PLACES.filter((names) => names.some((name) => name in fields));
  if (given.length < 2 || !choices.chance(0.95)) return;
  const kept = choices.pick(given);
  for (const names of given) if (names !== kept) for (const name of names) delete fields[name];
}

function aimFields(fields: Json, choices: Choices): void {
  keepOnePlace(fields, choices);
  for (const name of RARE) if (name in fields && choices.chance(0.8)) delete fields[name];
  for (const name of ["key", "prefix", "start", "end", "delimiter"])
    if (typeof fields[name] === "string" && choices.chance(0.9))
      fields[name] = choices.pick(["a", "b", "a/", "c", "/"]);
  if ("leaseId" in fields && choices.chance(0.9)) fields["leaseId"] = choices.pick(["1", "2", "3"]);
  for (const name of ["revision", "ifModRevision", "ifVersion", "minModRevision", "minCreateRevision"])
    if (name in fields && choices.chance(0.8)) fields[name] = 1 + choices.below(40);
  // Longer waits would be taken for hangs.
  if ("waitSeconds" in fields) fields["waitSeconds"] = choices.below(3);
  if ("ttlSeconds" in fields && choices.chance(0.9)) fields["ttlSeconds"] = 1 + choices.below(20);
}

export function aimConfig(body: Json, choices: Choices): void {
  aimFields(body, choices);
  if (typeof body["valueEncoding"] === "string" && choices.chance(0.8)) delete body["valueEncoding"];
  for (const list of ["compare", "success", "failure"]) {
    const items = body[list];
    if (!Array.isArray(items)) continue;
    body[list] = items.slice(0, 1 + choices.below(4)).map((item: unknown) => {
      if (typeof item !== "object" || item === null) return item;
      const one: Json = { ...item };
      aimFields(one, choices);
      if (Array.isArray(one["success"]) || Array.isArray(one["failure"])) aimInner(one, choices);
      else if ("target" in one && one["target"] !== "value")
        one["value"] = one["target"] === "leaseId" ? "1" : choices.below(9);
      return one;
    });
  }
}

/** Their schema says only that they are objects. */
function aimInner(txn: Json, choices: Choices): void {
  const operation = (): Json =>
    choices.pick([
      { op: "put", key: "i", value: choices.below(9) },
      { op: "get", key: "a" },
      { op: "delete", key: "j" },
      { op: "range" },
      {},
    ]);
  for (const branch of ["success", "failure"]) if (choices.chance(0.8)) txn[branch] = [operation()];
  if (choices.chance(0.8)) delete txn["compare"];
}

export function aimConfigQuery(fields: Json, path: string, choices: Choices): void {
  aimFields(fields, choices);
  if (path.endsWith("{key}") && choices.chance(0.95)) delete fields["key"];
  if ("namespace" in fields && choices.chance(0.98)) fields["namespace"] = choices.pick(NAMESPACES);
  for (const name of ["keyEncoding", "valueEncoding", "maxStalenessMs"])
    if (name in fields && choices.chance(0.8)) delete fields[name];
  if ("sort" in fields && choices.chance(0.5)) delete fields["sort"];
}
