// Reads of one key, a range or one level of a hierarchy, now or at a past revision.
// Guarantees: what is answered is one revision's state; bounded in rows and bytes. Must not: write.
import type { BinaryKey, KeyValue, RangeAnswer, RangeRequest } from "../wire/config.ts";
import { isEmptyRange, NO_END, prefixEnd } from "../wire/config-keys.ts";
import { ConfigRefusal, invalid } from "./failure.ts";
import { MAX_RANGE_BYTES, MAX_SORTED_ROWS } from "./limits.ts";
import type { Scan, Version } from "./version.ts";

/** What a range reads from. */
export interface RangeSource {
  /** `revision` 0 = now. */
  find(key: BinaryKey, revision: number): Version | undefined;
  scan(scan: Scan): readonly Version[];
  count(range: { readonly key: BinaryKey; readonly rangeEnd: BinaryKey }, revision: number): number;
  valueOf(version: Version): KeyValue;
}

/** Rows asked for at once: a range of large values, or without a limit, must not become one array. */
const FIRST_CHUNK_ROWS = 32;
const MAX_CHUNK_ROWS = 1000;
const CHUNK_BYTES = 2 * 1024 * 1024;
/** Rows asked for after a skip: most skips land at another common prefix. */
const LEVEL_CHUNK_ROWS = 16;
/** Numbers of a key in an answer, estimated. Bytes. */
const ROW_BYTES = 32;
const NO_VALUE = new Uint8Array(0);

/** `revision`: the state to read, 0 = now; the caller has judged request.revision. */
export function readRange(source: RangeSource, request: RangeRequest, revision: number): RangeAnswer {
  if (request.rangeEnd === "") return readOne(source, request, revision);
  if (isEmptyRange(request)) return { kind: "range", kvs: [], count: 0, more: false };
  if (request.countOnly) return { kind: "range", kvs: [], count: source.count(request, revision), more: false };
  if (request.delimiter) return readLevel(source, request, revision);
  if (isSorted(request) || isFiltered(request)) return readSorted(source, request, revision);
  return readInOrder(source, request, revision);
}

function readOne(source: RangeSource, request: RangeRequest, revision: number): RangeAnswer {
  const version = source.find(request.key, revision);
  if (!version) return { kind: "range", kvs: [], count: 0, more: false };
  if (request.countOnly || !passes(request, version)) return { kind: "range", kvs: [], count: 1, more: false };
  return { kind: "range", kvs: [shown(source, version, request)], count: 1, more: false };
}

function shown(source: RangeSource, version: Version, request: RangeRequest): KeyValue {
  if (!request.keysOnly) return source.valueOf(version);
  const { key, createRevision, modRevision, version: count, lease } = version;
  return { key, createRevision, modRevision, version: count, lease, value: NO_VALUE };
}

/** An answer as it grows. One without any limit that grows too large is refused: cut silently it would look complete. */
class Page {
  readonly kvs: KeyValue[] = [];
  readonly prefixes: BinaryKey[] = [];
  readonly #limit: number;
  readonly #maxBytes: number;
  bytes = 0;

  constructor(limit: number, maxBytes = 0) {
    this.#limit = limit;
    this.#maxBytes = maxBytes;
  }

  get isFull(): boolean {
    return this.#limit > 0 && this.kvs.length + this.prefixes.length >= this.#limit;
  }

  /** False = the page ends before this one. */
  add(kv: KeyValue): boolean {
    if (this.isFull || !this.#hasRoom(kv.key.length + kv.value.length)) return false;
    this.kvs.push(kv);
    return true;
  }

  addPrefix(prefix: BinaryKey): boolean {
    if (this.isFull || !this.#hasRoom(prefix.length)) return false;
    this.prefixes.push(prefix);
    return true;
  }

  #hasRoom(bytes: number): boolean {
    this.bytes += bytes + ROW_BYTES;
    if (this.#maxBytes > 0) return this.bytes <= this.#maxBytes || this.kvs.length === 0;
    if (this.bytes <= MAX_RANGE_BYTES) return true;
    if (this.#limit > 0) return false;
    const message = `the range holds more than ${MAX_RANGE_BYTES} bytes; ask for it in pages, with a limit`;
    throw new ConfigRefusal("payloadTooLarge", message, { limit: MAX_RANGE_BYTES });
  }
}

function readInOrder(source: RangeSource, request: RangeRequest, revision: number): RangeAnswer {
  const { limit = 0, maxBytes = 0, descending, keysOnly } = request;
  const page = new Page(limit, maxBytes);
  let { key, rangeEnd } = request;
  let more = false;
  let chunk = FIRST_CHUNK_ROWS;
  for (;;) {
    const rows = source.scan({
      ...{ key, rangeEnd, revision, descending },
      limit: limit > 0 ? Math.min(chunk, limit + 1 - page.kvs.length) : chunk,
      // Of the first ones nobody knows how large they are: a short page reads value after value.
      values: !keysOnly && (maxBytes === 0 || page.kvs.length > 0),
    });
    more = rows.some((version) => page.isFull || !page.add(shown(source, version, request)));
    const last = rows.at(-1);
    if (more || !last || rows.length < chunk) break;
    if (descending) rangeEnd = last.key;
    else key = `${last.key}\0`;
    if (isEmptyRange({ key, rangeEnd })) break;
    const rowBytes = page.bytes / page.kvs.length;
    const room = maxBytes > 0 ? Math.max(maxBytes - page.bytes, rowBytes) : CHUNK_BYTES;
    chunk = Math.max(1, Math.min(MAX_CHUNK_ROWS, Math.floor(Math.min(room, CHUNK_BYTES) / rowBytes)));
  }
  const count = request.withCount && more ? source.count(request, revision) : page.kvs.length + (more ? 1 : 0);
  return { kind: "range", kvs: page.kvs, count, more };
}

/** Keys directly under the prefix, and the common prefixes of the deeper ones, each once. Skips over what lies deeper. */
function readLevel(source: RangeSource, request: RangeRequest, revision: number): RangeAnswer {
  if (isSorted(request) || request.descending || isFiltered(request))
    throw invalid("delimiter", "cannot be combined with a sort or a filter");
  const { limit = 0, rangeEnd, delimiter = "", delimiterFrom = 0 } = request;
  const page = new Page(limit);
  let { key } = request;
  let more = false;
  while (!more && !isEmptyRange({ key, rangeEnd })) {
    const rows = source.scan({ key, rangeEnd, revision, limit: LEVEL_CHUNK_ROWS });
    let skipTo = "";
    for (const version of rows) {
      if (skipTo !== "" && (skipTo === NO_END || version.key < skipTo)) continue;
      const at = version.key.indexOf(delimiter, delimiterFrom);
      const prefix = at < 0 ? "" : version.key.slice(0, at + delimiter.length);
      const isAdded = prefix === "" ? page.add(shown(source, version, request)) : page.addPrefix(prefix);
      if (!isAdded) {
        more = true;
        break;
      }
      skipTo = prefix === "" ? `${version.key}\0` : prefixEnd(prefix);
    }
    if (rows.length < LEVEL_CHUNK_ROWS || skipTo === NO_END) break;
    key = skipTo;
  }
  const count = page.kvs.length + page.prefixes.length + (more ? 1 : 0);
  return { kind: "range", kvs: page.kvs, count, more, commonPrefixes: page.prefixes };
}

function readSorted(source: RangeSource, request: RangeRequest, revision: number): RangeAnswer {
  const { limit = 0, sortTarget = "key", descending = false } = request;
  const all = source.scan({ key: request.key, rangeEnd: request.rangeEnd, revision, limit: MAX_SORTED_ROWS + 1 });
  if (all.length > MAX_SORTED_ROWS) {
    const message = `the range holds more than ${MAX_SORTED_ROWS} keys, which is the limit for a sort or a filter`;
    throw new ConfigRefusal("payloadTooLarge", message, { limit: MAX_SORTED_ROWS });
  }
  const passing = all.filter((version) => passes(request, version));
  const page = new Page(limit);
  let more = false;
  if (sortTarget === "value") {
    const unlimited = new Page(0);
    for (const version of passing) unlimited.add(source.valueOf(version));
    const sorted = unlimited.kvs.sort((a, b) => compareBytes(a.value, b.value));
    if (descending) sorted.reverse();
    more = sorted.some((kv) => !page.add(request.keysOnly ? { ...kv, value: NO_VALUE } : kv));
  } else {
    const sorted =
      sortTarget === "key" ? passing : passing.sort((a, b) => rankOf(a, sortTarget) - rankOf(b, sortTarget));
    if (descending) sorted.reverse();
    more = sorted.some((version) => page.isFull || !page.add(shown(source, version, request)));
  }
  return { kind: "range", kvs: page.kvs, count: all.length, more };
}

function rankOf(version: Version, target: "version" | "create" | "mod"): number {
  if (target === "version") return version.version;
  return target === "create" ? version.createRevision : version.modRevision;
}

function isSorted(request: RangeRequest): boolean {
  return (request.sortTarget ?? "key") !== "key";
}

export function isFiltered(request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return Boolean(minModRevision || maxModRevision || minCreateRevision || maxCreateRevision);
}

function passes(request: RangeRequest, { modRevision, createRevision }: Version): boolean {
  const { minModRevision = 0, maxModRevision = 0, minCreateRevision = 0, maxCreateRevision = 0 } = request;
  if (minModRevision > 0 && modRevision < minModRevision) return false;
  if (maxModRevision > 0 && modRevision > maxModRevision) return false;
  if (minCreateRevision > 0 && createRevision < minCreateRevision) return false;
  return maxCreateRevision === 0 || createRevision <= maxCreateRevision;
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
