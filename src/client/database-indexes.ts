// `client.databases.indexes`: the indexes of a vector database (over HTTP). Making, changing and deleting them needs a key of scope admin.
import { databasePath, pathPart } from "./database-path.ts";
import type { HttpClient, HttpRequest } from "./http.ts";
import type { CallOptions } from "./types.ts";
import type { DatabaseIndex, DatabaseWriteOptions, IndexChanges, NewDatabaseIndex } from "./vector-types.ts";

/** Between two looks at an index that is being built. Ms. */
const LOOK_MS = 500;

export class DatabaseIndexes {
  readonly #http: HttpClient;
  readonly #namespace: string | undefined;

  constructor(http: HttpClient, namespace?: string) {
    this.#http = http;
    this.#namespace = namespace;
  }

  /** Answers when all shards know of it; it is built while the others serve: see `ready`. */
  create(databaseId: string, index: NewDatabaseIndex, options: DatabaseWriteOptions = {}): Promise<DatabaseIndex> {
    return this.#data({ ...options, method: "POST", path: pathOf(databaseId), body: JSON.stringify(index) });
  }

  /** The one that the database was made with comes first. */
  async list(databaseId: string, options: CallOptions = {}): Promise<readonly DatabaseIndex[]> {
    const { items } = await this.#data<{ items: readonly DatabaseIndex[] }>({
      ...options,
      method: "GET",
      path: pathOf(databaseId),
    });
    return items;
  }

  get(databaseId: string, indexId: string, options: CallOptions = {}): Promise<DatabaseIndex> {
    return this.#data({ ...options, method: "GET", path: pathOf(databaseId, indexId) });
  }

  /** Parameters that are given replace the old ones. What was built serves until the new one is. */
  update(
    databaseId: string,
    indexId: string,
    changes: IndexChanges,
    options: DatabaseWriteOptions = {},
  ): Promise<DatabaseIndex> {
    const body = JSON.stringify(changes);
    return this.#data({ ...options, method: "PUT", path: pathOf(databaseId, indexId), body });
  }

  /** Vectors stay. */
  async delete(databaseId: string, indexId: string, options: DatabaseWriteOptions = {}): Promise<void> {
    await this.#data({ ...options, method: "DELETE", path: pathOf(databaseId, indexId) });
  }

  /** Waits until nothing of it is being built any more; `onProgress` gets each look. */
  async ready(
    databaseId: string,
    indexId: string,
    {
      onProgress,
      ...options
    }: CallOptions & { readonly onProgress?: ((index: DatabaseIndex) => void) | undefined } = {},
  ): Promise<DatabaseIndex> {
    for (;;) {
      const index = await this.get(databaseId, indexId, options);
      onProgress?.(index);
      if (index.state !== "building") return index;
      await new Promise((done) => setTimeout(done, LOOK_MS));
      options.signal?.throwIfAborted();
    }
  }

  async #data<T>(request: HttpRequest): Promise<T> {
    const query = { namespace: this.#namespace, ...request.query };
    return (await this.#http.call({ ...request, query })).data as T;
  }
}

function pathOf(databaseId: string, indexId?: string): string {
  return `${databasePath(databaseId)}/indexes${indexId === undefined ? "" : `/${pathPart(indexId)}`}`;
}
