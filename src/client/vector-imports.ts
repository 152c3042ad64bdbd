// `client.vectors(databaseId).imports`: vectors that are taken now and stored behind the answer (over HTTP).
import { pathPart } from "./database-path.ts";
import type { HttpRequest } from "./http.ts";
import type { CallOptions } from "./types.ts";
import { BINARY_TYPE, binaryBatch } from "./vector-batch.ts";
import type { DatabaseWriteOptions, NewVector, VectorImport } from "./vector-types.ts";

/** Between two looks at an import that is under way. Ms. */
const LOOK_MS = 200;

export class VectorImports {
  readonly #call: <T>(request: HttpRequest) => Promise<T>;

  /** `call`: to a path of the database. */
  constructor(call: <T>(request: HttpRequest) => Promise<T>) {
    this.#call = call;
  }

  /** Answers when all of them are on disk: up to 10 000, of one dimension. */
  start(vectors: readonly NewVector[], options: DatabaseWriteOptions = {}): Promise<VectorImport> {
    const body = binaryBatch(vectors);
    return this.#call({ ...options, method: "POST", path: "/imports", body, contentType: BINARY_TYPE });
  }

  get(importId: string, options: CallOptions = {}): Promise<VectorImport> {
    return this.#call({ ...options, method: "GET", path: `/imports/${pathPart(importId)}` });
  }

  /** Those under way, and those that ended in the last day; the youngest first. */
  async list(options: CallOptions = {}): Promise<readonly VectorImport[]> {
    const request = { ...options, method: "GET", path: "/imports" } as const;
    return (await this.#call<{ items: readonly VectorImport[] }>(request)).items;
  }

  /** What is stored stays. */
  cancel(importId: string, options: DatabaseWriteOptions = {}): Promise<VectorImport> {
    return this.#call({ ...options, method: "DELETE", path: `/imports/${pathPart(importId)}` });
  }

  /** Waits until it has ended. */
  async ended(importId: string, options: CallOptions = {}): Promise<VectorImport> {
    for (;;) {
      const found = await this.get(importId, options);
      if (found.endedAt !== null) return found;
      await new Promise((done) => setTimeout(done, LOOK_MS));
      options.signal?.throwIfAborted();
    }
  }
}
