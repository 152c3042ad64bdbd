// POST /v1/config/import: writes a page of newline-delimited JSON, as an export gives it.
// Guarantees: nothing is written of a page with a bad line; a page sent again under its Idempotency-Key is applied once and counted as
// the first time. A page is several transactions: readers may see a part of it. Must not: take over revisions and versions.
import { sha256 } from "../access/api-key.ts";
import type { Compare, LeaseId, OperationAnswer, PutRequest, TxnAnswer, TxnRequest } from "../wire/config.ts";
import { PublicError } from "../wire/error-codes.ts";
import { BODY_HASH_BYTES, WRITE_ID_BYTES } from "../wire/session.ts";
import { admitMore } from "./access.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import { callConfig, type KeyspaceName, type WritePart } from "./config-call.ts";
import { NDJSON_TYPE } from "./config-export.ts";
import { type ImportLine, readImportPage, transactionsOf } from "./config-import-page.ts";
import { CONFIG_WRITE_ERRORS, type ConfigInput, configRoute } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { shownKey } from "./config-shown.ts";
import { IMPORT_LEASE_TRIES, MAX_CONFIG_PAGE_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";

type ImportInput = ConfigInput<ReturnType<typeof schemas.importQuery.parse>, unknown>;

interface Counts {
  created: number;
  overwritten: number;
  skipped: number;
  leasesDropped: number;
  revision: number;
}

const encoder = new TextEncoder();

function isAbsent({ key }: ImportLine): Compare {
  return { key, rangeEnd: "", target: "create", result: "equal", operand: 0 };
}

function txnOf(lines: readonly ImportLine[], onExisting: schemas.OnExisting, leases: ReadonlySet<LeaseId>): TxnRequest {
  const put = ({ key, value, lease }: ImportLine): PutRequest => ({
    ...{ kind: "put", key, value },
    lease: leases.has(lease) ? lease : "",
  });
  switch (onExisting) {
    case "overwrite":
      return { kind: "txn", compare: [], success: lines.map(put), failure: [] };
    case "skip": {
      const each = lines.map((line): TxnRequest => {
        return { kind: "txn", compare: [isAbsent(line)], success: [put(line)], failure: [] };
      });
      return { kind: "txn", compare: [], success: each, failure: [] };
    }
    case "fail": {
      const failure = lines.map(({ key }) => ({ kind: "range", key, rangeEnd: "", keysOnly: true }) as const);
      return { kind: "txn", compare: lines.map(isAbsent), success: lines.map(put), failure };
    }
    default:
      return onExisting satisfies never;
  }
}

function requireWritten(answer: TxnAnswer, lines: readonly ImportLine[], writtenLines: number): void {
  if (answer.succeeded) return;
  const at = answer.responses.findIndex((response) => response.kind === "range" && response.kvs.length > 0);
  const { number, key } = lines[at]!;
  const message = `line ${number}: the key exists; ${writtenLines} lines before its transaction were written`;
  throw new PublicError("preconditionFailed", message, { line: number, key: shownKey(key, "utf8"), writtenLines });
}

function countPut(counts: Counts, response: OperationAnswer, { lease }: ImportLine): void {
  if (response.kind === "txn") {
    const [inner] = response.responses;
    if (inner) countPut(counts, inner, { lease } as ImportLine);
    else counts.skipped++;
    return;
  }
  if (response.kind !== "put") throw new Error(`an imported line was answered by a ${response.kind}`);
  if (response.version === 1) counts.created++;
  else counts.overwritten++;
  if (lease !== "" && response.lease === "") counts.leasesDropped++;
}

/** The part's write id and its hash stand for the page as it was sent: leases may have ended when it comes again. */
async function partOf(call: Call, { raw, query }: ImportInput): Promise<(index: number) => Promise<WritePart>> {
  const page = await sha256(raw.bytes);
  return async (index) => {
    const named = encoder.encode(`\0import\0${query.onExisting}\0${index}`);
    const id = await sha256(Uint8Array.from([...call.writeId!, ...encoder.encode(`\0import\0${index}`)]));
    const hash = await sha256(Uint8Array.from([...page, ...named]));
    return { writeId: id.subarray(0, WRITE_ID_BYTES), bodyHash: hash.subarray(0, BODY_HASH_BYTES) };
  };
}

async function livingLeases(call: Call, keyspace: KeyspaceName, lines: readonly ImportLine[]) {
  if (lines.every(({ lease }) => lease === "")) return new Set<LeaseId>();
  return new Set((await callConfig(call, keyspace, { kind: "leases" })).leases);
}

async function importPage(call: Call, input: ImportInput): Promise<Response> {
  const { query, raw, principal, keyspace } = input;
  const lines = readImportPage(raw.bytes);
  await admitMore(call, principal, lines.length - 1);
  const part = await partOf(call, input);
  const counts: Counts = { created: 0, overwritten: 0, skipped: 0, leasesDropped: 0, revision: 0 };
  let leases = await livingLeases(call, keyspace, lines);
  let written = 0;
  for (const [index, some] of transactionsOf(lines).entries()) {
    const write = await part(index);
    for (let tries = 1; ; tries++) {
      try {
        const answer = await callConfig(call, keyspace, txnOf(some, query.onExisting, leases), write);
        requireWritten(answer, some, written);
        for (const [at, response] of answer.responses.entries()) countPut(counts, response, some[at]!);
        counts.revision = answer.header.revision;
        break;
      } catch (error) {
        const isLeaseGone = error instanceof PublicError && error.code === "leaseNotFound";
        if (!isLeaseGone || tries === IMPORT_LEASE_TRIES) throw error;
        leases = await livingLeases(call, keyspace, lines);
      }
    }
    written += some.length;
  }
  if (written === 0) counts.revision = (await callConfig(call, keyspace, { kind: "status" })).header.revision;
  return success(call, { message: "imported", data: { lines: lines.length, ...counts } });
}

export const configImportRoute: Route = configRoute({
  method: "post",
  path: "/v1/config/import",
  summary: `Write a page of newline-delimited JSON (${NDJSON_TYPE}), lines as an export gives them; a bad line is named and nothing of the page is written`,
  scope: "read-write",
  query: schemas.importQuery,
  bodyType: NDJSON_TYPE,
  maxBodyBytes: MAX_CONFIG_PAGE_BYTES,
  data: schemas.importedShape,
  errors: ["payloadTooLarge", "unsupportedMediaType", "preconditionFailed", "leaseNotFound", ...CONFIG_WRITE_ERRORS],
  handle: importPage,
});
