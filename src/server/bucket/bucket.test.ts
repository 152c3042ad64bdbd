// The development bucket over HTTP, with a signer written after AWS's description, and again after a restart.
import { createHash, createHmac } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startBucket } from "./server.ts";
import { refusalOf } from "./sigv4.ts";
import { BucketStore } from "./store.ts";

const credentials = { accessKeyId: "jade", secretAccessKey: "s3cret" };
/** Of AWS's documentation; in two parts, or it is taken for a secret. */
const EXAMPLE_ID = `AKIA${"IOSFODNN7EXAMPLE"}`;
const UNSIGNED = "UNSIGNED-PAYLOAD";
let directory: string;
let server: Server;
let base: string;

async function open(): Promise<void> {
  const store = await BucketStore.open(directory);
  const started = await startBucket({ store, bucket: "b", credentials }, 0);
  server = started.server;
  base = `127.0.0.1:${started.port}`;
}

async function close(): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "jade-bucket-"));
  await open();
});
afterEach(async () => {
  await close();
  rmSync(directory, { recursive: true });
});

interface Ask {
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly secret?: string;
  readonly atMs?: number;
}

/** `path`: with its query in the order of its names. */
async function ask(
  method: string,
  path: string,
  { body, headers = {}, secret = "s3cret", atMs = Date.now() }: Ask = {},
) {
  const time = new Date(atMs).toISOString().replace(/[-:]|\.\d+/g, "");
  const [name, query = ""] = path.split("?");
  const signed = "host;x-amz-content-sha256;x-amz-date";
  const canonical = [method, name, query, `host:${base}`, `x-amz-content-sha256:${UNSIGNED}`, `x-amz-date:${time}`];
  const text = [...canonical, "", signed, UNSIGNED].join("\n");
  const scope = `${time.slice(0, 8)}/auto/s3/aws4_request`;
  let key: string | Buffer = `AWS4${secret}`;
  for (const part of scope.split("/")) key = createHmac("sha256", key).update(part).digest();
  const hash = createHash("sha256").update(text).digest("hex");
  const toSign = ["AWS4-HMAC-SHA256", time, scope, hash].join("\n");
  const signature = createHmac("sha256", key).update(toSign).digest("hex");
  const authorization = `AWS4-HMAC-SHA256 Credential=jade/${scope}, SignedHeaders=${signed}, Signature=${signature}`;
  const sent = { ...headers, authorization, "x-amz-date": time, "x-amz-content-sha256": UNSIGNED };
  const response = await fetch(`http://${base}${path}`, {
    method,
    headers: sent,
    ...(body === undefined ? {} : { body }),
  });
  return { status: response.status, etag: response.headers.get("etag") ?? "", text: await response.text(), response };
}

describe("the development bucket", () => {
  it("[CL-6] of conditional writes of one version one wins, and what was answered is there after a restart", async () => {
    const first = await ask("PUT", "/b/own.json", { body: "one", headers: { "if-none-match": "*" } });
    expect(first.status).toBe(200);
    expect((await ask("PUT", "/b/own.json", { body: "x", headers: { "if-none-match": "*" } })).status).toBe(412);
    const claims = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        ask("PUT", "/b/own.json", { body: `claim ${n}`, headers: { "if-match": first.etag } }),
      ),
    );
    const won = claims.flatMap(({ status }, n) => (status === 200 ? [n] : []));
    expect(won).toHaveLength(1);
    expect(claims.filter(({ status }) => status === 412)).toHaveLength(19);
    await close();
    await open();
    const read = await ask("GET", "/b/own.json");
    expect([read.text, read.etag]).toEqual([`claim ${won[0]}`, claims[won[0]!]!.etag]);
    expect((await ask("DELETE", "/b/own.json", { headers: { "if-match": first.etag } })).status).toBe(412);
    expect((await ask("DELETE", "/b/own.json", { headers: { "if-match": read.etag } })).status).toBe(204);
    expect((await ask("GET", "/b/own.json")).status).toBe(404);
    expect((await ask("PUT", "/b/own.json", { body: "x", headers: { "if-match": read.etag } })).status).toBe(412);
  });

  it("[CL-6] gives ranges, heads and versions", async () => {
    const { etag } = await ask("PUT", "/b/a/b", { body: "0123456789" });
    const ranged = await ask("GET", "/b/a/b", { headers: { range: "bytes=2-4" } });
    expect([ranged.status, ranged.text, ranged.response.headers.get("content-range")]).toEqual([
      206,
      "234",
      "bytes 2-4/10",
    ]);
    expect((await ask("GET", "/b/a/b", { headers: { range: "bytes=-3" } })).text).toBe("789");
    expect((await ask("GET", "/b/a/b", { headers: { range: "bytes=10-" } })).status).toBe(416);
    expect((await ask("GET", "/b/a/b", { headers: { "if-none-match": etag } })).status).toBe(304);
    const head = await ask("HEAD", "/b/a/b");
    expect([head.status, head.etag, head.response.headers.get("content-length")]).toEqual([200, etag, "10"]);
    // A key may go on where another ends, and be what no file may be called.
    for (const key of ["a", "a/b/c", "..", "a/../x", "%25"]) {
      const path = `/b/${key.replace(/\.\./g, "%2E%2E")}`;
      expect((await ask("PUT", encodeURI(path).replace(/%25/g, "%"), { body: key })).status).toBeLessThan(500);
    }
    expect((await ask("PUT", `/b/${"k".repeat(1025)}`, { body: "x" })).status).toBe(400);
    expect(readdirSync(directory).sort()).toEqual(["objects", "staging"]);
  });

  it("[CL-6] lists by prefix in pages, and prefixes in place of what goes on behind a delimiter", async () => {
    for (const key of ["n/1", "n/2", "n/3", "o/1/a", "o/1/b", "o/2"]) await ask("PUT", `/b/${key}`, { body: "x" });
    const keys = (text: string) => [...text.matchAll(/<(?:Key|Prefix)>([^<]+)<\//g)].slice(1).map(([, key]) => key);
    const first = await ask("GET", "/b/?list-type=2&max-keys=2&prefix=n%2F");
    expect([keys(first.text), first.text.includes("<IsTruncated>true")]).toEqual([["n/1", "n/2"], true]);
    const token = encodeURIComponent(/<NextContinuationToken>([^<]+)/.exec(first.text)![1]!);
    const next = await ask("GET", `/b/?continuation-token=${token}&list-type=2&max-keys=2&prefix=n%2F`);
    expect([keys(next.text), next.text.includes("<IsTruncated>false")]).toEqual([["n/3"], true]);
    expect(keys((await ask("GET", "/b/?delimiter=%2F&list-type=2&prefix=o%2F")).text)).toEqual(["o/1/", "o/2"]);
  });

  it("[CL-7] refuses what its credentials did not sign, or signed at another time", async () => {
    await ask("PUT", "/b/a", { body: "kept" });
    expect((await fetch(`http://${base}/b/a`)).status).toBe(403);
    expect((await ask("PUT", "/b/a", { body: "x", secret: "guess" })).text).toContain("SignatureDoesNotMatch");
    expect((await ask("DELETE", "/b/a", { atMs: Date.now() - 16 * 60_000 })).text).toContain("RequestTimeTooSkewed");
    expect((await ask("GET", "/c/a")).status).toBe(404);
    expect((await ask("GET", "/b/a")).text).toBe("kept");
    expect((await ask("POST", "/b/a", { body: "x" })).status).toBe(501);
  });

  it("[CL-7] takes AWS's own example for signed", () => {
    // https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, GET Object
    const example = {
      accessKeyId: EXAMPLE_ID,
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    };
    const headers = {
      host: "examplebucket.s3.amazonaws.com",
      range: "bytes=0-9",
      "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "x-amz-date": "20130524T000000Z",
      authorization: `AWS4-HMAC-SHA256 Credential=${EXAMPLE_ID}/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41`,
    };
    const nowMs = Date.UTC(2013, 4, 24);
    expect(refusalOf({ method: "GET", url: "/test.txt", headers }, example, nowMs)).toBeUndefined();
    expect(refusalOf({ method: "GET", url: "/test2.txt", headers }, example, nowMs)).toBe("SignatureDoesNotMatch");
  });
});
