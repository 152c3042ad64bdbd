// `client.databases`: the vector databases of a namespace (over HTTP). Making, changing and deleting them needs a key of scope admin.
// Guarantees: a change is made once over all of its retries.
import { VECTOR_SNAPSHOT_TYPE } from "../wire/vector-snapshot.ts";
import { piecesOf, streamOf } from "./config-snapshot.ts";
import { DatabaseIndexes } from "./database-indexes.ts";
import { DATABASES_PATH, databasePath, pathPart } from "./database-path.ts";
import { type HttpClient, type HttpRequest, readEnvelope } from "./http.ts";
import { eachItem } from "./pages.ts";
import type { CallOptions, ListOptions, Page } from "./types.ts";
import { inspectVectorSnapshot, type VectorSnapshotInfo } from "./vector-snapshot.ts";
import type {
  Database,
  DatabaseChanges,
  DatabaseReshard,
  DatabaseSnapshot,
  DatabaseSnapshotName,
  DatabaseStatus,
  DatabaseWriteOptions,
  ExpiredVectors,
  NewDatabase,
  NewReembedding,
  Reembedding,
} from "./vector-types.ts";

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

  /** Keeps what the database holds now, each shard at one revision. */
  takeSnapshot(databaseId: string, snapshotId?: string, options: DatabaseWriteOptions = {}): Promise<DatabaseSnapshot> {
    return this.#data({
      ...options,
      method: "POST",
      path: this.#snapshots(databaseId),
      body: JSON.stringify({ snapshotId }),
    });
  }

  async snapshots(databaseId: string, options: CallOptions = {}): Promise<readonly DatabaseSnapshotName[]> {
    const page = await this.#data<{ items: readonly DatabaseSnapshotName[] }>({
      ...options,
      method: "GET",
      path: this.#snapshots(databaseId),
    });
    return page.items;
  }

  snapshot(databaseId: string, snapshotId: string, options: CallOptions = {}): Promise<DatabaseSnapshot> {
    return this.#data({ ...options, method: "GET", path: `${this.#snapshots(databaseId)}/${pathPart(snapshotId)}` });
  }

  async deleteSnapshot(databaseId: string, snapshotId: string, options: DatabaseWriteOptions = {}): Promise<void> {
    const path = `${this.#snapshots(databaseId)}/${pathPart(snapshotId)}`;
    await this.#data({ ...options, method: "DELETE", path });
  }

  /**
   * A snapshot's vectors as bytes: `onPiece` gets each piece, already checked, and is waited for. Throws `badAnswer` where the stream is cut
   * off or damaged; what was given until then is worth nothing.
   */
  downloadSnapshot(
    databaseId: string,
    snapshotId: string,
    onPiece: (piece: Uint8Array) => void | Promise<void>,
    { signal }: Pick<CallOptions, "signal"> = {},
  ): Promise<VectorSnapshotInfo> {
    const path = `${this.#snapshots(databaseId)}/${pathPart(snapshotId)}/data`;
    const request = { signal, method: "GET", path, query: { namespace: this.#namespace } } as const;
    return this.#http.stream(request, (response) => inspectVectorSnapshot(piecesOf(response.body), onPiece));
  }

  /** Stores a snapshot's vectors, with their versions and times. Not repeated by itself: the pieces are gone. */
  uploadSnapshot(
    databaseId: string,
    pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    { signal, writeId }: Pick<DatabaseWriteOptions, "signal" | "writeId"> = {},
  ): Promise<{ readonly databaseId: string; readonly rows: number }> {
    const path = `${databasePath(databaseId)}/restore/data`;
    const request = {
      ...({ signal, writeId, method: "POST", path, query: { namespace: this.#namespace } } as const),
      ...{ contentType: VECTOR_SNAPSHOT_TYPE, bytes: streamOf(pieces) },
    };
    return this.#http.stream(request, async (response) => {
      return readEnvelope(response, await response.text()).data as { databaseId: string; rows: number };
    });
  }

  /** Frees the database's memory; its vectors are refused until it is restored. */
  archive(databaseId: string, options: DatabaseWriteOptions = {}): Promise<Database> {
    return this.#data({ ...options, method: "POST", path: `${databasePath(databaseId)}/archive` });
  }

  /** Brings a database back from its archive; with a snapshot, back to what that holds. */
  restore(databaseId: string, snapshotId?: string, options: DatabaseWriteOptions = {}): Promise<Database> {
    const path = `${databasePath(databaseId)}/restore`;
    return this.#data({ ...options, method: "POST", path, body: JSON.stringify({ snapshotId }) });
  }

  /** How many vectors retention has archived (`archiveOnExpire`). */
  expired(databaseId: string, options: CallOptions = {}): Promise<ExpiredVectors> {
    return this.#data({ ...options, method: "GET", path: `${databasePath(databaseId)}/expired` });
  }

  /** Those vectors as bytes, as {@link downloadSnapshot} gives a snapshot's. */
  downloadExpired(
    databaseId: string,
    onPiece: (piece: Uint8Array) => void | Promise<void>,
    { signal, through }: Pick<CallOptions, "signal"> & { readonly through?: string | undefined } = {},
  ): Promise<VectorSnapshotInfo> {
    const path = `${databasePath(databaseId)}/expired/data`;
    const request = { signal, method: "GET", path, query: { namespace: this.#namespace, through } } as const;
    return this.#http.stream(request, (response) => inspectVectorSnapshot(piecesOf(response.body), onPiece));
  }

  /** `through`: of {@link expired}; left out, also what was archived since anybody looked is deleted. */
  async deleteExpired(
    databaseId: string,
    { through, ...options }: DatabaseWriteOptions & { readonly through?: string | undefined } = {},
  ): Promise<void> {
    await this.#data({ ...options, method: "DELETE", path: `${databasePath(databaseId)}/expired`, query: { through } });
  }

  /**
   * Brings a database to so many shards; without a number, where it is sharded by ranges or centroids, to as many as it has, with where vectors belong
   * learned again. It goes on behind the answer.
   */
  reshard(databaseId: string, shards?: number, options: DatabaseWriteOptions = {}): Promise<DatabaseReshard> {
    const body = JSON.stringify({ shards });
    return this.#data({ ...options, method: "POST", path: `${databasePath(databaseId)}/reshard`, body });
  }

  /** How far a change of the number of shards is. */
  resharding(databaseId: string, options: CallOptions = {}): Promise<DatabaseReshard> {
    return this.#data({ ...options, method: "GET", path: `${databasePath(databaseId)}/reshard` });
  }

  /** What has moved goes back. */
  cancelReshard(databaseId: string, options: DatabaseWriteOptions = {}): Promise<DatabaseReshard> {
    return this.#data({ ...options, method: "DELETE", path: `${databasePath(databaseId)}/reshard` });
  }

  /** Makes the vectors anew by another model, behind the answer: {@link reembedding} tells how far it is. */
  reembed(databaseId: string, asked: NewReembedding, options: DatabaseWriteOptions = {}): Promise<Reembedding> {
    const path = `${databasePath(databaseId)}/reembed`;
    return this.#data({ ...options, method: "POST", path, body: JSON.stringify(asked) });
  }

  /** The one that is under way, or the last one. */
  reembedding(databaseId: string, options: CallOptions = {}): Promise<Reembedding> {
    return this.#data({ ...options, method: "GET", path: `${databasePath(databaseId)}/reembed` });
  }

  /** The database stays as it is. */
  cancelReembedding(databaseId: string, options: DatabaseWriteOptions = {}): Promise<Reembedding> {
    return this.#data({ ...options, method: "DELETE", path: `${databasePath(databaseId)}/reembed` });
  }

  #snapshots(databaseId: string): string {
    return `${databasePath(databaseId)}/snapshots`;
  }

  async #data<T>(request: HttpRequest): Promise<T> {
    const query = { namespace: this.#namespace, ...request.query };
    return (await this.#http.call({ ...request, query })).data as T;
  }
}
