// An issuer of signed tokens for tests: real keys, real signatures, its key set on a real HTTP server, and a clock by hand.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { expect } from "vitest";
import { type Settings, settingsSchema } from "../../../src/cluster/settings.ts";
import { TokenVerifier } from "../../../src/gateway/token-verifier.ts";

export type Pair = Awaited<ReturnType<typeof generateKeyPair>>;

export const ISSUER = "https://issuer.test/";
export const AUDIENCE = "jade";
export const START_MS = Date.UTC(2026, 0, 1);

export interface Published {
  status: number;
  body: string;
  headers?: Record<string, string>;
  delayMs?: number;
}

export interface Make {
  readonly claims?: JWTPayload;
  readonly header?: Record<string, unknown>;
  readonly key?: Parameters<SignJWT["sign"]>[0];
}

export async function jwk(pair: Pair, kid: string): Promise<object> {
  return { ...(await exportJWK(pair.publicKey)), kid, use: "sig" };
}

export class TestIssuer {
  readonly rsa: Pair;
  readonly ec: Pair;
  readonly other: Pair;
  readonly #server: Server;
  url = "";
  /** What it answers. */
  answer: Published = { status: 200, body: "" };
  /** What any other path of its server answers. */
  elsewhere: Published = { status: 404, body: "" };
  asked = 0;
  nowMs = START_MS;
  counts: Record<string, number> = {};
  failures: unknown[] = [];

  private constructor([rsa, ec, other]: readonly [Pair, Pair, Pair]) {
    this.rsa = rsa;
    this.ec = ec;
    this.other = other;
    this.#server = createServer((request, response) => {
      this.asked++;
      const isElsewhere = request.url !== "/jwks.json";
      const { status, body, headers, delayMs = 0 } = isElsewhere ? this.elsewhere : this.answer;
      setTimeout(() => {
        response.writeHead(status, { "content-type": "application/json", ...headers });
        response.end(body);
      }, delayMs);
    });
  }

  static async start(): Promise<TestIssuer> {
    const make = (alg: string) => generateKeyPair(alg, { extractable: true });
    const issuer = new TestIssuer(await Promise.all([make("RS256"), make("ES256"), make("RS256")]));
    await new Promise<void>((resolve) => issuer.#server.listen(0, "127.0.0.1", resolve));
    issuer.url = `http://127.0.0.1:${(issuer.#server.address() as AddressInfo).port}/jwks.json`;
    return issuer;
  }

  stop(): Promise<unknown> {
    return new Promise((resolve) => this.#server.close(resolve));
  }

  async reset(): Promise<void> {
    this.nowMs = START_MS;
    this.counts = {};
    this.failures = [];
    this.asked = 0;
    await this.publish(jwk(this.rsa, "rsa"), jwk(this.ec, "ec"));
    this.elsewhere = this.answer;
  }

  async publish(...keys: (object | Promise<object>)[]): Promise<void> {
    this.answer = { status: 200, body: JSON.stringify({ keys: await Promise.all(keys) }) };
  }

  get seconds(): number {
    return Math.floor(this.nowMs / 1000);
  }

  verifier(issuer: object = {}, auth: Partial<Settings["auth"]> = {}): TokenVerifier {
    const { auth: settings } = settingsSchema.parse({
      auth: { ...auth, tokenIssuers: [{ issuer: ISSUER, audience: AUDIENCE, jwksUrl: this.url, ...issuer }] },
    });
    return new TokenVerifier({
      settings,
      now: () => this.nowMs,
      fetch: (target, init) => fetch(target, init),
      count: (name) => {
        this.counts[name] = (this.counts[name] ?? 0) + 1;
      },
      onKeysFailure: (_, error) => this.failures.push(error),
    });
  }

  token({ claims = {}, header = {}, key = this.rsa.privateKey }: Make = {}): Promise<string> {
    const { seconds } = this;
    const usual = { iss: ISSUER, aud: AUDIENCE, iat: seconds, exp: seconds + 600 };
    const all = { ...usual, tenant: "acme", scope: "jade:read-write", ...claims };
    const payload = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    return new SignJWT(payload).setProtectedHeader({ alg: "RS256", kid: "rsa", ...header }).sign(key);
  }

  /** The reason that was counted. */
  async refusal(text: string, by = this.verifier()): Promise<string> {
    this.counts = {};
    expect(await by.verify(text)).toBeUndefined();
    const [name = "none"] = Object.keys(this.counts);
    return /reason="(.*)"/.exec(name)?.[1] ?? name;
  }
}
