// The development bucket's objects as files: whole, fsynced, replaced only where the condition holds.
// Guarantees: a write that was answered is on disk, name included; of two conditional writes of one version one wins; a crash leaves the
// old or the new object. Must not: be opened by two processes, or be taken for a store to keep data in: there is one copy.
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Versions are 32 hex digits, at the head of each file. */
const ETAG_BYTES = 32;
const SUFFIX = ".o";
/** Longest part of a key between two slashes, encoded: what file systems take, less the suffix. */
const MAX_PART_BYTES = 250;
export const MAX_KEY_BYTES = 1024;

export interface ObjectInfo {
  readonly key: string;
  readonly etag: string;
  readonly size: number;
  readonly modifiedMs: number;
}

/** Left out = any state. `null` = there must be none; a text = this version; `"*"` = any that exists. */
export interface Condition {
  readonly ifMatch?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
}

export interface ListAsk {
  readonly prefix: string;
  /** Not this one again: a key, or a text that an earlier list ended in. */
  readonly after: string;
  /** Empty = all objects by themselves. */
  readonly delimiter: string;
  readonly limit: number;
}

export interface Listed {
  readonly name: string;
  /** None = it stands for all objects that begin with `name`. */
  readonly object: ObjectInfo | undefined;
}

export class BadKey extends Error {
  override readonly name = "BadKey";
}

/** Directories never hold a dot, files end in one with the suffix: so `a` and `a/b` may both exist. */
function pathOf(root: string, key: string): string {
  if (key === "" || Buffer.byteLength(key) > MAX_KEY_BYTES)
    throw new BadKey(`a key has 1 to ${MAX_KEY_BYTES} bytes, this one ${Buffer.byteLength(key)}`);
  const parts = key.split("/").map((part) => `_${encodeURIComponent(part).replace(/\./g, "%2E")}`);
  const long = parts.find((part) => part.length > MAX_PART_BYTES);
  if (long !== undefined) throw new BadKey(`a part of a key has at most ${MAX_PART_BYTES} bytes, encoded`);
  return `${join(root, ...parts)}${SUFFIX}`;
}

function keyOf(path: string): string {
  const parts = path.slice(0, -SUFFIX.length).split("/");
  return parts.map((part) => decodeURIComponent(part.slice(1))).join("/");
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function holds(condition: Condition, held: ObjectInfo | undefined): boolean {
  const { ifMatch, ifNoneMatch } = condition;
  if (ifMatch !== undefined && (held === undefined || (ifMatch !== "*" && ifMatch !== held.etag))) return false;
  return ifNoneMatch === undefined || held === undefined || (ifNoneMatch !== "*" && ifNoneMatch !== held.etag);
}

export class BucketStore {
  readonly #root: string;
  readonly #staging: string;
  /** What exists, as its files say. */
  readonly #objects = new Map<string, ObjectInfo>();
  #sorted: string[] | undefined;
  /** One change of a key at a time. */
  readonly #turns = new Map<string, Promise<unknown>>();

  private constructor(root: string) {
    this.#root = join(root, "objects");
    this.#staging = join(root, "staging");
  }

  static async open(root: string): Promise<BucketStore> {
    const store = new BucketStore(root);
    rmSync(store.#staging, { recursive: true, force: true });
    for (const path of [store.#root, store.#staging]) mkdirSync(path, { recursive: true, mode: 0o700 });
    const files = readdirSync(store.#root, { recursive: true, withFileTypes: true });
    for (const file of files) if (file.isFile() && file.name.endsWith(SUFFIX)) await store.#learn(file);
    return store;
  }

  async #learn({ parentPath, name }: { parentPath: string; name: string }): Promise<void> {
    const path = join(parentPath, name);
    const key = keyOf(path.slice(this.#root.length + 1));
    const handle = await open(path);
    try {
      const head = Buffer.alloc(ETAG_BYTES);
      await handle.read(head, 0, ETAG_BYTES, 0);
      const { size, mtimeMs } = await handle.stat();
      this.#objects.set(key, { key, etag: head.toString("latin1"), size: size - ETAG_BYTES, modifiedMs: mtimeMs });
    } finally {
      await handle.close();
    }
  }

  head(key: string): ObjectInfo | undefined {
    return this.#objects.get(key);
  }

  /** Bytes `from` to before `to`; of the version that `head` tells. Undefined = there is none. */
  async read(key: string, from = 0, to?: number): Promise<{ info: ObjectInfo; bytes: Buffer } | undefined> {
    const info = this.#objects.get(key);
    if (info === undefined) return undefined;
    let handle: FileHandle;
    try {
      handle = await open(pathOf(this.#root, key));
    } catch {
      return this.#objects.get(key) === info ? undefined : this.read(key, from, to); // deleted or replaced meanwhile
    }
    try {
      const { size } = await handle.stat();
      const whole = Buffer.alloc(size);
      await handle.read(whole, 0, size, 0);
      const etag = whole.toString("latin1", 0, ETAG_BYTES);
      const bytes = whole.subarray(ETAG_BYTES);
      return { info: { ...info, etag, size: bytes.length }, bytes: bytes.subarray(from, to ?? bytes.length) };
    } finally {
      await handle.close();
    }
  }

  /** The new version; undefined = the condition does not hold. */
  put(key: string, bytes: Uint8Array, condition: Condition = {}): Promise<ObjectInfo | undefined> {
    const path = pathOf(this.#root, key);
    return this.#inTurn(key, async () => {
      if (!holds(condition, this.#objects.get(key))) return undefined;
      const etag = randomBytes(ETAG_BYTES / 2).toString("hex");
      const aside = join(this.#staging, randomBytes(16).toString("hex"));
      const handle = await open(aside, "wx", 0o600);
      try {
        await handle.write(Buffer.concat([Buffer.from(etag, "latin1"), bytes]));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await this.#makeDirectory(dirname(path));
      await rename(aside, path);
      await syncDirectory(dirname(path));
      const info = { key, etag, size: bytes.length, modifiedMs: (await stat(path)).mtimeMs };
      if (!this.#objects.has(key)) this.#sorted = undefined;
      this.#objects.set(key, info);
      return info;
    });
  }

  /** False = the condition does not hold. */
  delete(key: string, condition: Condition = {}): Promise<boolean> {
    const path = pathOf(this.#root, key);
    return this.#inTurn(key, async () => {
      const held = this.#objects.get(key);
      if (!holds(condition, held)) return false;
      if (held === undefined) return true;
      await rm(path, { force: true });
      await syncDirectory(dirname(path));
      this.#objects.delete(key);
      this.#sorted = undefined;
      return true;
    });
  }

  /**
   * Up to `limit` of what begins with `prefix` and comes after `after`, in order: objects, and in place of all that go on behind
   * `delimiter` the text up to it, once. workerd's keys are ASCII.
   */
  list({ prefix, after, delimiter, limit }: ListAsk): Listed[] {
    this.#sorted ??= [...this.#objects.keys()].sort();
    const found: Listed[] = [];
    let last = after;
    for (const key of this.#sorted) {
      if (found.length >= limit) break;
      if (key <= after || !key.startsWith(prefix)) continue;
      const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
      const name = end < 0 ? key : key.slice(0, end + delimiter.length);
      if (name === last) continue;
      last = name;
      found.push({ name, object: end < 0 ? this.#objects.get(key) : undefined });
    }
    return found;
  }

  async #makeDirectory(path: string): Promise<void> {
    const made = await mkdir(path, { recursive: true, mode: 0o700 });
    if (made === undefined) return;
    // Each new directory's name stands in the one above it.
    for (let above = dirname(path); above.length >= dirname(made).length; above = dirname(above))
      await syncDirectory(above);
  }

  async #inTurn<T>(key: string, run: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(key);
    const mine = (before ?? Promise.resolve()).then(run, run);
    this.#turns.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#turns.get(key) === mine) this.#turns.delete(key);
    }
  }
}
