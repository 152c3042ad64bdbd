// The part of S3's protocol that workerd's cluster mode speaks, over one directory: objects with conditional writes, ranges, lists.
// For development and tests only: one copy on one disk, one process, plain HTTP on loopback.
// Guarantees: as store.ts; a request that is not signed by the credentials changes and tells nothing; bodies are bounded.
// Must not: listen on anything but loopback.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Credentials, refusalOf } from "./sigv4.ts";
import { BadKey, type BucketStore, type Listed, type ObjectInfo } from "./store.ts";

/** Largest object. workerd's log parts and snapshots stay far below. */
export const MAX_OBJECT_BYTES = 256 * 1024 * 1024;
const MAX_LIST_KEYS = 1000;

export interface BucketServerOptions {
  readonly store: BucketStore;
  readonly bucket: string;
  readonly credentials: Credentials;
}

class Refused extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

function xmlText(text: string): string {
  const names: Record<string, string> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos" };
  return text.replace(/[&<>"']/g, (character) => `&${names[character]};`);
}

const XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n';

function xml(name: string, value: string | number | boolean): string {
  return `<${name}>${xmlText(String(value))}</${name}>`;
}

function listedXml({ name, object }: Listed): string {
  if (!object) return `<CommonPrefixes>${xml("Prefix", name)}</CommonPrefixes>`;
  const { etag, size, modifiedMs } = object;
  const times = xml("LastModified", new Date(modifiedMs).toISOString());
  const rest = xml("ETag", `"${etag}"`) + xml("Size", size) + xml("StorageClass", "STANDARD");
  return `<Contents>${xml("Key", name)}${times}${rest}</Contents>`;
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_OBJECT_BYTES)
      throw new Refused(400, "EntityTooLarge", `an object has at most ${MAX_OBJECT_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** `"etag"` or `*`. */
function tagOf(header: string | undefined): string | undefined {
  return header?.trim().replace(/^"(.*)"$/, "$1");
}

/** First and last byte, both inclusive; undefined = all. */
function rangeOf(header: string | undefined, size: number): { from: number; to: number } | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === undefined || (first === "" && last === "")) return undefined;
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (from >= size || from > to) throw new Refused(416, "InvalidRange", `the object has ${size} bytes`);
  return { from, to };
}

function objectHeaders({ etag, modifiedMs }: ObjectInfo): Record<string, string> {
  return { etag: `"${etag}"`, "last-modified": new Date(modifiedMs).toUTCString(), "accept-ranges": "bytes" };
}

class Exchange {
  readonly #options: BucketServerOptions;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(options: BucketServerOptions, request: IncomingMessage, response: ServerResponse) {
    this.#options = options;
    this.#request = request;
    this.#response = response;
  }

  async run(): Promise<void> {
    try {
      await this.#handle();
    } catch (error) {
      const known =
        error instanceof Refused
          ? error
          : error instanceof BadKey || error instanceof URIError
            ? new Refused(400, "InvalidArgument", error.message)
            : new Refused(500, "InternalError", String(error));
      if (this.#response.headersSent) return void this.#response.destroy();
      const text = `<Error><Code>${known.code}</Code><Message>${xmlText(known.message)}</Message></Error>`;
      this.#answer(known.status, Buffer.from(text), { "content-type": "application/xml" });
    }
  }

  #answer(status: number, body: Buffer = Buffer.alloc(0), headers: Record<string, string> = {}): void {
    this.#response.writeHead(status, { "content-length": String(body.length), ...headers });
    this.#response.end(this.#request.method === "HEAD" ? undefined : body);
  }

  async #handle(): Promise<void> {
    const { method = "", url = "/", headers } = this.#request;
    const refusal = refusalOf({ method, url, headers }, this.#options.credentials, Date.now());
    if (refusal) throw new Refused(403, refusal, "the request is not signed by the bucket's credentials");
    const [path = "/", query = ""] = url.split("?", 2);
    const [, bucket = "", ...rest] = path.split("/");
    if (decodeURIComponent(bucket) !== this.#options.bucket)
      throw new Refused(404, "NoSuchBucket", `the bucket is ${this.#options.bucket}`);
    const key = rest.map(decodeURIComponent).join("/");
    const parameters = new URLSearchParams(query);
    if (key === "" && method === "GET") return this.#list(parameters);
    if (key === "" && method === "HEAD") return this.#answer(200);
    switch (method) {
      case "GET":
        return this.#get(key);
      case "HEAD":
        return this.#head(key);
      case "PUT":
        return this.#put(key);
      case "DELETE":
        return this.#delete(key);
      default:
        throw new Refused(501, "NotImplemented", `${method} is not implemented`);
    }
  }

  #condition() {
    const { "if-match": ifMatch, "if-none-match": ifNoneMatch } = this.#request.headers;
    return { ifMatch: tagOf(ifMatch), ifNoneMatch: tagOf(ifNoneMatch) };
  }

  async #get(key: string): Promise<void> {
    const found = await this.#options.store.read(key);
    if (!found) throw new Refused(404, "NoSuchKey", "there is no such object");
    const { info, bytes } = found;
    const { ifMatch, ifNoneMatch } = this.#condition();
    if (ifMatch !== undefined && ifMatch !== "*" && ifMatch !== info.etag)
      throw new Refused(412, "PreconditionFailed", "the object has another version");
    if (ifNoneMatch === info.etag) return this.#answer(304, undefined, objectHeaders(info));
    const range = rangeOf(this.#request.headers.range, bytes.length);
    if (!range) return this.#answer(200, bytes, objectHeaders(info));
    const contentRange = `bytes ${range.from}-${range.to}/${bytes.length}`;
    const headers = { ...objectHeaders(info), "content-range": contentRange };
    this.#answer(206, bytes.subarray(range.from, range.to + 1), headers);
  }

  #head(key: string): void {
    const info = this.#options.store.head(key);
    if (!info) throw new Refused(404, "NoSuchKey", "there is no such object");
    this.#answer(200, undefined, { ...objectHeaders(info), "content-length": String(info.size) });
  }

  async #put(key: string): Promise<void> {
    const bytes = await readBody(this.#request);
    const info = await this.#options.store.put(key, bytes, this.#condition());
    if (!info) throw new Refused(412, "PreconditionFailed", "the object has another version");
    this.#answer(200, undefined, { etag: `"${info.etag}"` });
  }

  async #delete(key: string): Promise<void> {
    if (!(await this.#options.store.delete(key, this.#condition())))
      throw new Refused(412, "PreconditionFailed", "the object has another version");
    this.#answer(204);
  }

  #list(parameters: URLSearchParams): void {
    if (parameters.get("list-type") !== "2") throw new Refused(501, "NotImplemented", "lists are of version 2");
    const { store, bucket } = this.#options;
    const prefix = parameters.get("prefix") ?? "";
    const delimiter = parameters.get("delimiter") ?? "";
    const after = parameters.get("continuation-token") ?? parameters.get("start-after") ?? "";
    const limit = Math.min(MAX_LIST_KEYS, Number(parameters.get("max-keys") ?? MAX_LIST_KEYS));
    const rows = store.list({ prefix, after, delimiter, limit: limit + 1 });
    const shown = rows.slice(0, limit);
    const next = rows.length > shown.length ? xml("NextContinuationToken", shown.at(-1)!.name) : "";
    const names = xml("Name", bucket) + xml("Prefix", prefix) + (delimiter && xml("Delimiter", delimiter));
    const counts = xml("KeyCount", shown.length) + xml("MaxKeys", limit) + xml("IsTruncated", next !== "");
    const result = `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${names}${counts}${next}${shown.map(listedXml).join("")}</ListBucketResult>`;
    this.#answer(200, Buffer.from(`${XML_HEAD}${result}`), { "content-type": "application/xml" });
  }
}

/** Listens on loopback; port 0 = a free one. */
export async function startBucket(
  options: BucketServerOptions,
  port: number,
): Promise<{ readonly port: number; readonly server: Server }> {
  const server = createServer((request, response) => void new Exchange(options, request, response).run());
  // Instances keep their connections: they must not be reset under a request.
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return { port: (server.address() as AddressInfo).port, server };
}
