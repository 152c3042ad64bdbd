// `client.databases`: the vector databases of a namespace (over HTTP). Making, changing and deleting them needs a key of scope admin.
// Guarantees: a change is made once over all of its retries.
import { DatabaseIndexes } from "./database-indexes.ts";
import { DATABASES_PATH, databasePath } from "./database-path.ts";
import type { HttpClient, HttpRequest } from "./http.ts";
import { eachItem } from "./pages.ts";
import type { CallOptions, ListOptions, Page } from "./types.ts";
import type { Database, DatabaseChanges, DatabaseStatus, DatabaseWriteOptions, NewDatabase } from "./vector-types.ts";

export class Databases {
  readonly #http: HttpClient;
  readonly #namespace: string | undefined;
  /** The indexes of a database. */
  readonly indexes: DatabaseIndexes;

  constructor(http: HttpClient, namespace?: string) {
    this.#http = http;
    this.#namespace = namespace;
    this.indexes = new DatabaseIndexes(http, namespace);
  }

  /** The databases of another namespace; without one it is `default`. */
  namespace(name: string): Databases {
    return new Databases(this.#http, name);
  }

  /** Answers when all of its shards are there. */
  create(database: NewDatabase, options: DatabaseWriteOptions = {}): Promise<Database> {
    return this.#data({ ...options, method: "POST", path: DATABASES_PATH, body: JSON.stringify(database) });
  }

  get(databaseId: string, options: CallOptions = {}): Promise<Database> {
    return this.#data({ ...options, method: "GET", path: databasePath(databaseId) });
  }

  page({ limit, cursor, ...options }: ListOptions = {}): Promise<Page<Database>> {
    return this.#data({ ...options, method: "GET", path: DATABASES_PATH, query: { limit, cursor } });
  }

  /** All databases of the namespace, fetched page by page. */
  list(options: ListOptions = {}): AsyncGenerator<Database, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.page({ ...options, cursor }));
  }

  /** Changes the fields that are given. */
  update(databaseId: string, changes: DatabaseChanges, options: DatabaseWriteOptions = {}): Promise<Database> {
    return this.#data({ ...options, method: "PUT", path: databasePath(databaseId), body: JSON.stringify(changes) });
  }

  /** Deletes the database; its vectors are erased behind the answer. */
  async delete(databaseId: string, options: DatabaseWriteOptions = {}): Promise<void> {
    await this.#data({ ...options, method: "DELETE", path: databasePath(databaseId) });
  }

  /** How much it holds now, in all and for each shard. */
  status(databaseId: string, options: CallOptions = {}): Promise<DatabaseStatus> {
    return this.#data({ ...options, method: "GET", path: `${databasePath(databaseId)}/status` });
  }

  async #data<T>(request: HttpRequest): Promise<T> {
    const query = { namespace: this.#namespace, ...request.query };
    return (await this.#http.call({ ...request, query })).data as T;
  }
}
