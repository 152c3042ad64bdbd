// Searches for all that meets a threshold: page by page over all shards, or as a stream of lines.
// Guarantees: every vector that meets it and lives all through is given once, best first, equal scores by id; each page is paid for by the
// rows that were compared; a stream that was cut off lacks its last line. Must not: ask an index.
import { base64UrlOf } from "../access/api-key.ts";
import { MAX_TOP_K } from "../vector/shard/limits.ts";
import { inOrder } from "../vector/shard/match-order.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { VectorHit, WithinAnswer, WithinPlace } from "../wire/vector.ts";
import { apiHeaders, joinPieces } from "./answers.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";
import { NDJSON_TYPE } from "./config-export.ts";
import { listPieces, type Pieces } from "./config-shown.ts";
import { invalidRequest } from "./issues.ts";
import { charge } from "./search-cost.ts";
import { callAllShards } from "./vector-call.ts";
import { type AskedDatabase, type KnownDatabase, withDatabase } from "./vector-databases.ts";
import { isSettled } from "./vector-maps.ts";
import { asOften, withoutTwins } from "./vector-routing.ts";
import type { Ask } from "./vector-schemas.ts";
import { hitPieces } from "./vector-shown.ts";

/** A query as shards take it. */
export interface ThresholdQuery {
  readonly values: Uint8Array;
  /** Not given among its own neighbours. */
  readonly without?: string | undefined;
}

export interface ThresholdPage {
  readonly hits: readonly VectorHit[];
  /** Of the next page; null = these were the last. */
  readonly cursor: string | null;
  readonly total: number;
  readonly scanned: number;
  /** Where it was asked for: what each shard did. */
  readonly explain?: { readonly shards: readonly object[] } | undefined;
}

/** Without `topK` all that meets the threshold is asked for. */
export function isForAll({ topK, threshold }: Pick<Ask, "topK" | "threshold">): boolean {
  return topK === undefined && threshold !== undefined;
}

export function requirePaged({ cursor, limit, ...ask }: Ask): void {
  for (const [path, value] of Object.entries({ cursor, limit })) {
    if (value === undefined || isForAll(ask)) continue;
    throw invalidRequest([{ path, message: "goes with a threshold without topK only" }]);
  }
}

function cursorOf({ score, id }: WithinPlace): string {
  return base64UrlOf(new TextEncoder().encode(JSON.stringify([score, id])));
}

function placeOf(cursor: string | undefined): WithinPlace | undefined {
  if (cursor === undefined) return undefined;
  try {
    const binary = atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const [score, id] = JSON.parse(new TextDecoder().decode(bytes)) as [unknown, unknown];
    if (typeof score === "number" && typeof id === "string") return { score, id };
  } catch {
    // Not base64, not JSON or not a list: told below, as any other text that is no cursor.
  }
  throw invalidRequest([{ path: "cursor", message: "is not one that an earlier page returned" }]);
}

/** A shard that has more says nothing of what is behind its last row: the page ends there at the latest. */
function merged({ metric }: KnownDatabase, answers: readonly WithinAnswer[], limit: number) {
  const order = inOrder(metric);
  const ends = answers.flatMap(({ more, rows }) => (more && rows.length > 0 ? [rows.at(-1)!] : [])).sort(order);
  const known = withoutTwins(answers.flatMap(({ rows }) => rows))
    .toSorted(order)
    .filter((hit) => !ends[0] || order(hit, ends[0]) <= 0);
  const hits = known.slice(0, limit);
  const isLast = hits.length === known.length && ends.length === 0;
  return { hits, cursor: isLast ? null : cursorOf(hits.at(-1)!) };
}

/** One page. */
export async function thresholdPage(
  call: Call,
  database: KnownDatabase,
  { values, without }: ThresholdQuery,
  ask: Ask,
): Promise<ThresholdPage> {
  const limit = ask.limit ?? MAX_TOP_K;
  const request = {
    kind: "within",
    query: values,
    threshold: ask.threshold!,
    filter: ask.filters && JSON.stringify(ask.filters),
    after: placeOf(ask.cursor),
    limit,
    without,
    shown: { metadata: ask.includeMetadata, values: ask.includeValues },
  } as const;
  const routing = { isSettled: await isSettled(call, database), ask: () => callAllShards(call, database, request) };
  const rounds = await asOften(call, database, routing);
  const answers = rounds.flat();
  const [first] = rounds;
  const sum = (of: readonly WithinAnswer[], amount: (answer: WithinAnswer) => number): number =>
    of.reduce((all, answer) => all + amount(answer), 0);
  const shards = first.map(({ scanned, total }, shard) => ({ shard, index: "none", plan: "scan", scanned, total }));
  const explain = ask.explain ? { shards } : undefined;
  const sums = { total: sum(first, ({ total }) => total), scanned: sum(answers, ({ scanned }) => scanned) };
  return { ...merged(database, answers, limit), ...sums, explain };
}

export function pagePieces({ hits, cursor, total, scanned, explain }: ThresholdPage): Pieces {
  const rest = { isComplete: cursor === null, cursor, total, scanned, explain };
  return ['{"results":', ...listPieces(hits, hitPieces), `,${JSON.stringify(rest).slice(1)}`];
}

export function wantsLines({ request }: Call): boolean {
  return (request.headers.get("accept") ?? "").toLowerCase().includes(NDJSON_TYPE);
}

function linesOf(hits: readonly VectorHit[]): Uint8Array {
  return joinPieces(hits.flatMap((hit) => [...unbroken(hitPieces(hit)), "\n"]));
}

/** Metadata is the text that came, which may have line breaks between its members, where a space means the same. */
function unbroken(pieces: Pieces): Pieces {
  return pieces.map((piece) =>
    typeof piece === "string" ? piece : piece.map((byte) => (byte === 0x0a || byte === 0x0d ? 0x20 : byte)),
  );
}

export interface StreamAsk {
  readonly asked: AskedDatabase;
  readonly query: ThresholdQuery;
  readonly ask: Ask;
  readonly principal: TenantPrincipal;
}

/** All pages, a result a line; the last line is `{"cursor":null,"total":…,"scanned":…}`, or the error that ended it and where to go on. */
export function thresholdLines(call: Call, first: ThresholdPage, stream: StreamAsk): Response {
  const encoder = new TextEncoder();
  let page = first;
  let { scanned } = first;
  let isFirst = true;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const end = (line: object): void => {
        controller.enqueue(encoder.encode(`${JSON.stringify(line)}\n`));
        controller.close();
      };
      try {
        if (!isFirst) {
          page = await nextPage(call, stream, page.cursor!);
          scanned += page.scanned;
        }
        isFirst = false;
        if (page.hits.length > 0) controller.enqueue(linesOf(page.hits));
        if (page.cursor === null) end({ cursor: null, total: page.total, scanned });
      } catch (error) {
        const { code, message, details } = error instanceof PublicError ? error : INTERNAL;
        if (!(error instanceof PublicError)) call.services.log.error("a stream of results ended", {}, error);
        end({ error: { code, message, details }, cursor: page.cursor });
      }
    },
  });
  return new Response(body, { headers: apiHeaders(call, undefined, NDJSON_TYPE) });
}

const INTERNAL = new PublicError("internal", "the stream ended; go on at the cursor");

async function nextPage(call: Call, { asked, query, ask, principal }: StreamAsk, cursor: string) {
  const page = await withDatabase(call, asked, (database) => thresholdPage(call, database, query, { ...ask, cursor }));
  await charge(call, principal, page.scanned);
  return page;
}
