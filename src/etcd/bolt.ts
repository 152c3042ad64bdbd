// Writes a file of bbolt, etcd's storage, from front to back: pages in the order of their numbers, each written once.
// Guarantees: bounded memory (a page a level of the tree); bbolt's own check finds every page reachable. Must not: know what is stored.
//
// The first pages name what comes later, so a file is written twice: once to learn where its trees end (`layout`), once for its bytes.
// Pages: 0 and 1 meta, 2 the free list (empty), 3 the root bucket, then the buckets' trees. A leaf page's or branch page's elements
// are first all headers, then all keys and values. See go.etcd.io/bbolt, page.go, node.go and db.go.

export const BOLT_PAGE_BYTES = 4096;
const PAGE_HEADER_BYTES = 16;
const ELEMENT_BYTES = 16;
const FLAG = { branch: 1, leaf: 2, meta: 4, freeList: 16 } as const;
/** Of an element of the root bucket: its value is a bucket. */
const IS_BUCKET = 1;
const MAGIC = 0xed0cdaed;
const VERSION = 2;
const META_CHECKED_BYTES = 56;
const ROOT_PAGE = 3;
const FIRST_TREE_PAGE = 4;
const encoder = new TextEncoder();

/** Where the trees of a file are. */
export interface BoltLayout {
  readonly roots: readonly { readonly name: string; readonly page: number }[];
  readonly pageCount: number;
}

interface Element {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Of a branch's. */
  readonly page: number;
  readonly flags?: number;
}

/** One level of the tree that grows: the page that is being filled. */
interface Level {
  elements: Element[];
  bytes: number;
  pageCount: number;
}

const NO_VALUE = new Uint8Array(0);

export class BoltWriter {
  readonly #emit: ((page: Uint8Array) => void) | undefined;
  readonly #roots: { name: string; page: number }[] = [];
  #levels: Level[] = [];
  #nextPage = FIRST_TREE_PAGE;

  /** Without `file` the pages are counted only. `emit` gets pages one after the other; the bytes are its own. */
  constructor(file?: { readonly layout: BoltLayout; readonly emit: (page: Uint8Array) => void }) {
    this.#emit = file?.emit;
    if (!file) return;
    const { layout, emit } = file;
    for (const id of [0, 1]) emit(metaPage(id, layout.pageCount));
    emit(pageOf(2, FLAG.freeList, []));
    const buckets = layout.roots.map(({ name, page }) => {
      const value = new Uint8Array(16);
      new DataView(value.buffer).setBigUint64(0, BigInt(page), true);
      return { key: encoder.encode(name), value, page: 0, flags: IS_BUCKET };
    });
    emit(pageOf(ROOT_PAGE, FLAG.leaf, buckets));
  }

  /** In the order of keys. */
  add(key: Uint8Array, value: Uint8Array): void {
    this.#put(0, { key, value, page: 0 });
  }

  /** Ends the bucket whose elements were added. Buckets come in the order of their names. */
  endBucket(name: string): void {
    this.#levels[0] ??= { elements: [], bytes: PAGE_HEADER_BYTES, pageCount: 0 };
    for (let at = 0; ; at++) {
      const level = this.#levels[at]!;
      if (level.elements.length > 0 || (at === 0 && level.pageCount === 0)) this.#flush(at);
      if (level.pageCount > 1) continue;
      // The only page of its level: its parent has nothing else to name.
      this.#roots.push({ name, page: this.#levels[at + 1]!.elements[0]!.page });
      break;
    }
    this.#levels = [];
  }

  get layout(): BoltLayout {
    return { roots: this.#roots, pageCount: this.#nextPage };
  }

  #put(at: number, element: Element): void {
    this.#levels[at] ??= { elements: [], bytes: PAGE_HEADER_BYTES, pageCount: 0 };
    const level = this.#levels[at];
    const bytes = ELEMENT_BYTES + element.key.length + element.value.length;
    if (level.elements.length > 0 && level.bytes + bytes > BOLT_PAGE_BYTES) this.#flush(at);
    level.elements.push(element);
    level.bytes += bytes;
  }

  #flush(at: number): void {
    const level = this.#levels[at]!;
    const page = this.#nextPage;
    this.#nextPage += Math.ceil(level.bytes / BOLT_PAGE_BYTES);
    this.#emit?.(pageOf(page, at === 0 ? FLAG.leaf : FLAG.branch, level.elements));
    const key = level.elements[0]?.key ?? NO_VALUE;
    level.elements = [];
    level.bytes = PAGE_HEADER_BYTES;
    level.pageCount++;
    this.#put(at + 1, { key, value: NO_VALUE, page });
  }
}

/** What is longer than a page goes on in the pages behind it. */
function pageOf(id: number, flags: number, elements: readonly Element[]): Uint8Array {
  let bytes = PAGE_HEADER_BYTES;
  for (const { key, value } of elements) bytes += ELEMENT_BYTES + key.length + value.length;
  const pages = Math.ceil(bytes / BOLT_PAGE_BYTES);
  const page = new Uint8Array(pages * BOLT_PAGE_BYTES);
  const view = new DataView(page.buffer);
  view.setBigUint64(0, BigInt(id), true);
  view.setUint16(8, flags, true);
  view.setUint16(10, elements.length, true);
  view.setUint32(12, pages - 1, true);
  let header = PAGE_HEADER_BYTES;
  let at = PAGE_HEADER_BYTES + elements.length * ELEMENT_BYTES;
  for (const { key, value, page: child, flags: elementFlags = 0 } of elements) {
    if (flags === FLAG.branch) {
      view.setUint32(header, at - header, true);
      view.setUint32(header + 4, key.length, true);
      view.setBigUint64(header + 8, BigInt(child), true);
    } else {
      view.setUint32(header, elementFlags, true);
      view.setUint32(header + 4, at - header, true);
      view.setUint32(header + 8, key.length, true);
      view.setUint32(header + 12, value.length, true);
    }
    page.set(key, at);
    page.set(value, at + key.length);
    header += ELEMENT_BYTES;
    at += key.length + value.length;
  }
  return page;
}

function metaPage(id: number, pageCount: number): Uint8Array {
  const page = pageOf(id, FLAG.meta, []);
  const view = new DataView(page.buffer, PAGE_HEADER_BYTES);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, BOLT_PAGE_BYTES, true);
  view.setBigUint64(16, BigInt(ROOT_PAGE), true);
  view.setBigUint64(32, 2n, true); // the free list's page
  view.setBigUint64(40, BigInt(pageCount), true);
  view.setBigUint64(48, BigInt(id), true); // the transaction that wrote it
  const checked = page.subarray(PAGE_HEADER_BYTES, PAGE_HEADER_BYTES + META_CHECKED_BYTES);
  view.setBigUint64(META_CHECKED_BYTES, fnv1a64(checked), true);
  return page;
}

function fnv1a64(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}
