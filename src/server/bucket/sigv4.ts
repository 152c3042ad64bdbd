// AWS Signature Version 4 in the header form, as a bucket checks it. Pure but for the hash.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** How far a request's clock may be off; S3's. Ms. */
export const MAX_SKEW_MS = 15 * 60_000;

export interface SignedRequest {
  readonly method: string;
  /** As sent: path and query, percent-encoded. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export type Refusal = "AccessDenied" | "InvalidAccessKeyId" | "RequestTimeTooSkewed" | "SignatureDoesNotMatch";

interface Authorization {
  readonly accessKeyId: string;
  /** date/region/service/aws4_request */
  readonly scope: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

function parseAuthorization(text: string): Authorization | undefined {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{64})$/.exec(
      text,
    );
  if (!match) return undefined;
  const [, accessKeyId, scope, signedHeaders, signature] = match;
  return { accessKeyId: accessKeyId!, scope: scope!, signedHeaders: signedHeaders!.split(";"), signature: signature! };
}

/** RFC 3986 encoding of everything but unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function canonicalQuery(query: string): string {
  const pairs = [...new URLSearchParams(query)].map(([name, value]) => `${encode(name)}=${encode(value)}`);
  return pairs.sort().join("&");
}

function canonicalRequest({ method, url, headers }: SignedRequest, signedHeaders: readonly string[]): string {
  const [path = "/", query = ""] = url.split("?", 2);
  const lines = signedHeaders.map((name) => `${name}:${String(headers[name] ?? "").trim()}\n`);
  const payload = String(headers["x-amz-content-sha256"]);
  return [method, path, canonicalQuery(query), lines.join(""), signedHeaders.join(";"), payload].join("\n");
}

/** `20261121T193755Z` → ms; NaN for another form. */
function parseTime(text: string): number {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [];
  return Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
}

function signatureOf(request: SignedRequest, { scope, signedHeaders }: Authorization, secret: string): string {
  const time = String(request.headers["x-amz-date"]);
  const hash = createHash("sha256").update(canonicalRequest(request, signedHeaders)).digest("hex");
  const [date = "", region = "", service = ""] = scope.split("/");
  const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), service), "aws4_request");
  return hmac(key, ["AWS4-HMAC-SHA256", time, scope, hash].join("\n")).toString("hex");
}

/** Undefined = it was signed by who holds the credentials, within {@link MAX_SKEW_MS}. */
export function refusalOf(request: SignedRequest, credentials: Credentials, nowMs: number): Refusal | undefined {
  const authorization = parseAuthorization(String(request.headers["authorization"] ?? ""));
  if (!authorization?.signedHeaders.includes("host")) return "AccessDenied";
  if (authorization.accessKeyId !== credentials.accessKeyId) return "InvalidAccessKeyId";
  const skewMs = Math.abs(parseTime(String(request.headers["x-amz-date"])) - nowMs);
  if (!(skewMs <= MAX_SKEW_MS)) return "RequestTimeTooSkewed";
  const expected = Buffer.from(signatureOf(request, authorization, credentials.secretAccessKey));
  return timingSafeEqual(expected, Buffer.from(authorization.signature)) ? undefined : "SignatureDoesNotMatch";
}
