// Signed tokens: real signatures by jose, keys from a real HTTP server, and every attack on them that has a name.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { base64url, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { MAX_SIGNED_TOKEN_CHARACTERS } from "../access/limits.ts";
import { defaultSettings, type Settings, settingsSchema } from "../cluster/settings.ts";
import { PublicError } from "../wire/error-codes.ts";
import { KEYS_FETCH_COOLDOWN_MS, MAX_KEYS_BYTES } from "./limits.ts";
import { isTokenShaped, TokenVerifier } from "./token-verifier.ts";

type Pair = Awaited<ReturnType<typeof generateKeyPair>>;

const ISSUER = "https://issuer.test/";
const AUDIENCE = "jade";
const START_MS = Date.UTC(2026, 0, 1);

let rsa: Pair;
let ec: Pair;
let other: Pair;
let server: Server;
let url = "";
/** What the issuer answers. */
interface Published {
  status: number;
  body: string;
  headers?: Record<string, string>;
  delayMs?: number;
}
let answer: Published;

let asked = 0;
let nowMs = START_MS;
let counts: Record<string, number> = {};
let failures: unknown[] = [];

async function jwk(pair: Pair, kid: string, more: object = {}): Promise<object> {
  return { ...(await exportJWK(pair.publicKey)), kid, use: "sig", ...more };
}

const serve = (published: Published) => () => {
  answer = published;
};

async function publish(...keys: (object | Promise<object>)[]): Promise<void> {
  answer = { status: 200, body: JSON.stringify({ keys: await Promise.all(keys) }) };
}

beforeAll(async () => {
  [rsa, ec, other] = await Promise.all([
    generateKeyPair("RS256", { extractable: true }),
    generateKeyPair("ES256", { extractable: true }),
    generateKeyPair("RS256", { extractable: true }),
  ]);
  server = createServer((_, response) => {
    asked++;
    setTimeout(() => {
      response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
      response.end(answer.body);
    }, answer.delayMs ?? 0);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`;
});

afterAll(() => new Promise((resolve) => server.close(resolve)));

beforeEach(async () => {
  nowMs = START_MS;
  counts = {};
  failures = [];
  asked = 0;
  await publish(jwk(rsa, "rsa"), jwk(ec, "ec"));
});

function verifier(issuer: object = {}, auth: Partial<Settings["auth"]> = {}): TokenVerifier {
  const { auth: parsed } = settingsSchema.parse({
    auth: { ...auth, tokenIssuers: [{ issuer: ISSUER, audience: AUDIENCE, jwksUrl: url, ...issuer }] },
  });
  return new TokenVerifier({
    settings: parsed,
    now: () => nowMs,
    fetch: (target, init) => fetch(target, init),
    count: (name) => {
      counts[name] = (counts[name] ?? 0) + 1;
    },
    onKeysFailure: (_, error) => failures.push(error),
  });
}

const seconds = () => Math.floor(nowMs / 1000);

interface Make {
  readonly claims?: JWTPayload;
  readonly header?: Record<string, unknown>;
  readonly key?: Parameters<SignJWT["sign"]>[0];
}

function token({ claims = {}, header = {}, key = rsa.privateKey }: Make = {}): Promise<string> {
  const all = {
    iss: ISSUER,
    aud: AUDIENCE,
    iat: seconds(),
    exp: seconds() + 600,
    tenant: "acme",
    scope: "jade:read-write",
  };
  const payload = Object.fromEntries(Object.entries({ ...all, ...claims }).filter(([, value]) => value !== undefined));
  return new SignJWT(payload).setProtectedHeader({ alg: "RS256", kid: "rsa", ...header }).sign(key);
}

/** The reason that was counted. */
async function refusal(text: string, by = verifier()): Promise<string> {
  counts = {};
  expect(await by.verify(text)).toBeUndefined();
  const [name = "none"] = Object.keys(counts);
  return /reason="(.*)"/.exec(name)?.[1] ?? name;
}

const encoded = (value: unknown) => base64url.encode(JSON.stringify(value));

describe("a good token", () => {
  it("[AC-16] opens the tenant that its claim names, with its scope, until it expires", async () => {
    const granted = await verifier().verify(await token());
    expect(granted).toMatchObject({ tenantId: "acme", scope: "read-write" });
    expect(granted!.expiresAtMs).toBe(START_MS + 600_000 + 5000);
    expect(granted!.issuedAtMs).toBe(START_MS);
  });

  it.each([
    ["RS256", "RSA"],
    ["PS384", "RSA"],
    ["ES256", "EC"],
    ["ES512", "EC"],
    ["EdDSA", "OKP"],
  ])("[AC-17] %s verifies when it is allowed, and not otherwise", async (alg) => {
    const pair = await generateKeyPair(alg, { extractable: true });
    await publish(jwk(pair, "k"));
    const text = await token({ key: pair.privateKey, header: { alg, kid: "k" } });
    expect(await verifier({ algorithms: [alg] }).verify(text)).toMatchObject({ tenantId: "acme" });
    expect(await refusal(text, verifier({ algorithms: [alg === "RS256" ? "ES256" : "RS256"] }))).toBe("algorithm");
  });

  it("[AC-16] claims and scopes are read as the operator says, and never more is given than the issuer may", async () => {
    const custom = verifier({
      tenantClaim: "https://x/tenant",
      scopeClaim: "roles",
      scopePrefix: "db.",
      maxScope: "admin",
    });
    const claims = {
      tenant: undefined,
      scope: undefined,
      "https://x/tenant": "beta",
      roles: ["x", "db.read-only", "db.admin"],
    };
    expect(await custom.verify(await token({ claims }))).toMatchObject({ tenantId: "beta", scope: "admin" });
    const admin = await token({ claims: { scope: "openid jade:admin jade:read-only" } });
    expect(await verifier().verify(admin)).toMatchObject({ scope: "read-write" });
    expect(await verifier({ maxScope: "read-only" }).verify(admin)).toMatchObject({ scope: "read-only" });
  });

  it("[AC-16] one of several audiences is enough, and inline keys need no server", async () => {
    const inline = verifier({ jwksUrl: undefined, jwks: { keys: [await jwk(rsa, "rsa")] } });
    expect(await inline.verify(await token({ claims: { aud: ["x", AUDIENCE] } }))).toMatchObject({ tenantId: "acme" });
    expect(asked).toBe(0);
  });
});

describe("forged tokens", () => {
  it("[AC-17] without a signature", async () => {
    const payload = encoded({ iss: ISSUER, aud: AUDIENCE, exp: seconds() + 600, tenant: "acme", scope: "jade:admin" });
    for (const alg of ["none", "None", "NONE", "nOnE", ""]) {
      expect(isTokenShaped(`${encoded({ alg })}.${payload}.`)).toBe(false);
      expect(await refusal(`${encoded({ alg, kid: "rsa" })}.${payload}.AAAA`)).toBe("algorithm");
    }
  });

  it("[AC-17] signed by HMAC with the public key, as text, as bytes and as JWK", async () => {
    const pem = await exportSPKI(rsa.publicKey);
    const publicJwk = JSON.stringify(await exportJWK(rsa.publicKey));
    for (const secret of [pem, pem.trimEnd(), publicJwk]) {
      for (const alg of ["HS256", "HS384", "HS512"]) {
        const text = await token({ key: new TextEncoder().encode(secret.padEnd(64)), header: { alg } });
        expect(await refusal(text)).toBe("algorithm");
      }
    }
    expect(() =>
      settingsSchema.parse({
        auth: { tokenIssuers: [{ issuer: "i", audience: "a", jwksUrl: url, algorithms: ["HS256"] }] },
      }),
    ).toThrow();
  });

  it("[AC-17] of one algorithm with the key of another", async () => {
    const text = await token({ key: ec.privateKey, header: { alg: "ES256", kid: "rsa" } });
    expect(await refusal(text)).toBe("key");
    const swapped = text.replace(/^[^.]+/, encoded({ alg: "RS256", kid: "rsa" }));
    expect(await refusal(swapped)).toBe("signature");
  });

  it("[AC-17] with a payload, a header or a signature that was changed", async () => {
    const [header, payload, signature] = (await token()).split(".") as [string, string, string];
    const claims = JSON.parse(new TextDecoder().decode(base64url.decode(payload)));
    expect(await refusal(`${header}.${encoded({ ...claims, tenant: "other" })}.${signature}`)).toBe("signature");
    expect(await refusal(`${header}.${encoded({ ...claims, scope: "jade:admin" })}.${signature}`)).toBe("signature");
    expect(await refusal(`${encoded({ alg: "RS256", kid: "rsa", x: 1 })}.${payload}.${signature}`)).toBe("signature");
    const flipped = (signature[9] === "A" ? "B" : "A") + signature.slice(1);
    expect(await refusal(`${header}.${payload}.${flipped}`)).toBe("signature");
    expect(await refusal(`${header}.${payload}.${signature.slice(0, 40)}`)).toBe("signature");
  });

  it("[AC-17] that bring their own key: jwk, jku, x5u, x5c in the header mean nothing", async () => {
    const forged = { key: other.privateKey };
    const jwkHeader = await jwk(other, "rsa");
    for (const header of [
      { jwk: jwkHeader },
      { jku: "http://127.0.0.1:9/jwks" },
      { x5u: "http://127.0.0.1:9/x" },
      { x5c: ["MIIB"] },
    ]) {
      expect(await refusal(await token({ ...forged, header }))).toBe("signature");
    }
  });

  it("[AC-17] whose key id is a path, a query or a prototype's member", async () => {
    for (const kid of [
      "../../etc/passwd",
      "' OR 1=1 --",
      "__proto__",
      "constructor",
      "",
      "rsa\0",
      7,
      ["rsa"],
      { a: 1 },
    ]) {
      const text = await token({ key: other.privateKey, header: { kid: kid as string } }).catch(() => "");
      const made = text || `${encoded({ alg: "RS256", kid })}.${(await token()).split(".")[1]}.AAAA`;
      expect(["key", "malformed"]).toContain(await refusal(made));
    }
  });

  it("[AC-17] with critical extensions that nobody here understands", async () => {
    const [, payload, signature] = (await token()).split(".");
    expect(await refusal(`${encoded({ alg: "RS256", kid: "rsa", crit: ["x"], x: 1 })}.${payload}.${signature}`)).toBe(
      "malformed",
    );
  });

  it("[AC-17] by another issuer, by none, or by one that looks alike", async () => {
    for (const iss of [
      undefined,
      "",
      "https://issuer.test",
      "https://issuer.test//",
      `${ISSUER}x`,
      "HTTPS://ISSUER.TEST/",
    ]) {
      expect(await refusal(await token({ claims: { iss } as JWTPayload }))).toBe("issuer");
    }
    expect(await refusal(await token({ claims: { iss: [ISSUER] as never } }))).toBe("claims");
  });

  it("[AC-17] for another audience or for none", async () => {
    for (const aud of [undefined, "", "jad", "jade2", ["x", "y"], []]) {
      expect(await refusal(await token({ claims: { aud } as JWTPayload }))).toBe("audience");
    }
  });

  it("[AC-17] too long, not base64url, not JSON, or not three parts", async () => {
    const long = await token({ claims: { padding: "x".repeat(MAX_SIGNED_TOKEN_CHARACTERS) } });
    expect(isTokenShaped(long)).toBe(false);
    expect(isTokenShaped(await token())).toBe(true);
    for (const text of ["a.b", "a.b.c.d", "a.b.c=", "a b.c.d", "..", "jdb.acme.0123456789abcdef.AAAA"]) {
      expect(isTokenShaped(text), text).toBe(false);
    }
    for (const text of [
      "a.b.c",
      `${encoded([])}.${encoded([])}.c`,
      `${encoded(null)}.${encoded({})}.c`,
      `${encoded({ alg: "RS256" })}.${encoded("x")}.c`,
    ]) {
      expect(await refusal(text)).toBe("malformed");
    }
  });
});

describe("times", () => {
  it("[AC-18] expired, not yet valid and issued in the future are refused, with five seconds of tolerance", async () => {
    const good = async (claims: JWTPayload) => (await verifier().verify(await token({ claims }))) !== undefined;
    expect(await good({ exp: seconds() - 4 })).toBe(true);
    expect(await refusal(await token({ claims: { exp: seconds() - 5 } }))).toBe("expired");
    expect(await good({ nbf: seconds() + 5 })).toBe(true);
    expect(await refusal(await token({ claims: { nbf: seconds() + 6 } }))).toBe("notYet");
    expect(await good({ iat: seconds() + 5 })).toBe(true);
    expect(await refusal(await token({ claims: { iat: seconds() + 6 } }))).toBe("notYet");
  });

  it("[AC-18] a token that never expires, or whose times are no numbers, is refused", async () => {
    expect(await refusal(await token({ claims: { exp: undefined } as never }))).toBe("claims");
    const [header] = (await token()).split(".");
    expect(header).toBeDefined();
    for (const exp of ["9999999999", null, [9999999999], {}]) {
      const raw = new SignJWT({ iss: ISSUER, aud: AUDIENCE, tenant: "acme", scope: "jade:admin", exp: exp as never });
      expect(await refusal(await raw.setProtectedHeader({ alg: "RS256", kid: "rsa" }).sign(rsa.privateKey))).toBe(
        "claims",
      );
    }
  });
});

describe("tenants", () => {
  it("[AC-19] a missing, ill-formed or inherited tenant claim opens nothing", async () => {
    for (const tenant of [undefined, null, "", "Acme", "a/b", "acme ", 7, ["acme"], { id: "acme" }, "x".repeat(64)]) {
      expect(await refusal(await token({ claims: { tenant } as JWTPayload }))).toBe("tenant");
    }
    for (const tenantClaim of ["constructor", "__proto__", "toString"]) {
      expect(await refusal(await token(), verifier({ tenantClaim }))).toBe("tenant");
    }
  });

  it("[AC-19] an issuer for some tenants opens no other", async () => {
    const own = verifier({ tenants: ["acme", "beta"] });
    expect(await own.verify(await token({ claims: { tenant: "beta" } }))).toBeDefined();
    expect(await refusal(await token({ claims: { tenant: "gamma" } }), own)).toBe("tenant");
  });

  it("[AC-19] a token without one of our scopes opens nothing", async () => {
    for (const scope of [
      undefined,
      "",
      "openid",
      "read-write",
      "jade:root",
      "JADE:admin",
      "jade:admin2",
      1,
      { "jade:admin": true },
    ]) {
      expect(await refusal(await token({ claims: { scope } as JWTPayload }))).toBe("scope");
    }
  });
});

describe("rotation", () => {
  it("[AC-20] a key that the issuer added is found at once, one that it took out is refused within the refresh time", async () => {
    const by = verifier();
    const old = await token();
    const held = await by.verify(old);
    expect(asked).toBe(1);
    await publish(jwk(other, "new"));
    nowMs += KEYS_FETCH_COOLDOWN_MS;
    expect(await by.verify(await token({ key: other.privateKey, header: { kid: "new" } }))).toBeDefined();
    expect(asked).toBe(2);
    expect(held!.keys.isTrusted(held!.generation), "what was verified with the old keys").toBe(false);
    expect(await refusal(old, by)).toBe("key");
  });

  it("[AC-20] without a new key a rotated-out one is refused once the set is as old as it may get", async () => {
    const by = verifier();
    const text = await token({ claims: { exp: seconds() + 9999 } });
    const held = await by.verify(text);
    await publish(jwk(ec, "ec"));
    nowMs += 299_000;
    expect(held!.keys.isTrusted(held!.generation)).toBe(true);
    nowMs += 1000;
    expect(held!.keys.isTrusted(held!.generation)).toBe(false);
    expect(await refusal(text, by)).toBe("key");
    expect(asked).toBe(2);
  });

  it("[AC-20] from half its age on the set is fetched behind a request, and trust goes on", async () => {
    const by = verifier();
    const held = await by.verify(await token());
    const behind: Promise<unknown>[] = [];
    held!.keys.refreshBehind((work) => behind.push(work));
    expect(behind).toHaveLength(0);
    nowMs += 150_000;
    held!.keys.refreshBehind((work) => behind.push(work));
    held!.keys.refreshBehind((work) => behind.push(work));
    expect(behind).toHaveLength(1);
    await Promise.all(behind);
    nowMs += 299_000;
    expect(held!.keys.isTrusted(held!.generation)).toBe(true);
  });

  it("[AC-20] unknown key ids cause one fetch a cooldown, however many come", async () => {
    const by = verifier();
    await by.verify(await token());
    nowMs += KEYS_FETCH_COOLDOWN_MS;
    const before = asked;
    const forged = await Promise.all(
      Array.from({ length: 30 }, (_, index) => token({ key: other.privateKey, header: { kid: `k${index}` } })),
    );
    expect((await Promise.all(forged.map((text) => by.verify(text)))).every((verified) => verified === undefined)).toBe(
      true,
    );
    for (const text of forged) await by.verify(text);
    expect(asked - before).toBe(1);
  });

  it("[AC-20] many first tokens at once cause one fetch", async () => {
    answer = { ...answer, delayMs: 60 };
    const by = verifier();
    const text = await token();
    // Time passes for those who wait.
    const timer = setInterval(() => {
      nowMs += 5;
    }, 5);
    const verified = await Promise.all(Array.from({ length: 20 }, () => by.verify(text)));
    clearInterval(timer);
    expect(verified.every(Boolean)).toBe(true);
    expect(asked).toBe(1);
  });
});

describe("the issuer away", () => {
  it("[AC-20] its last keys serve for the configured time, then nobody knows", async () => {
    const by = verifier();
    const text = await token({ claims: { exp: seconds() + 99_999 } });
    const held = await by.verify(text);
    answer = { status: 500, body: "" };
    nowMs += 301_000;
    expect(await by.verify(text)).toBeDefined();
    expect(asked).toBe(2);
    expect(held!.keys.isTrusted(held!.generation), "not verified again for each request").toBe(true);
    await by.verify(text);
    expect(asked, "asked again too soon").toBe(2);
    nowMs = START_MS + 59 * 60_000;
    expect(await by.verify(text)).toBeDefined();
    nowMs = START_MS + 61 * 60_000;
    await expect(by.verify(text)).rejects.toMatchObject({ code: "unavailable" });
    await publish(jwk(rsa, "rsa"));
    nowMs += KEYS_FETCH_COOLDOWN_MS;
    expect(await by.verify(text)).toBeDefined();
  });

  it.each<[string, () => Promise<void> | void]>([
    ["an error", serve({ status: 503, body: "{}" })],
    ["a redirect", serve({ status: 302, body: "", headers: { location: url } })],
    ["no JSON", serve({ status: 200, body: "<html>" })],
    ["no key set", serve({ status: 200, body: '{"keys":{}}' })],
    ["an empty key set", () => publish()],
    ["secrets only", () => publish({ kty: "oct", k: "c2VjcmV0", kid: "rsa" })],
    [
      "too many keys",
      () => publish(...Array.from({ length: 101 }, (_, i) => ({ kty: "RSA", n: "AQAB", e: "AQAB", kid: `${i}` }))),
    ],
    ["too much", serve({ status: 200, body: " ".repeat(MAX_KEYS_BYTES + 1) })],
  ])("[AC-20] %s in place of keys is a failure that is told to the log, and no token passes", async (_, set) => {
    await set();
    await expect(verifier().verify(await token())).rejects.toBeInstanceOf(PublicError);
    expect(failures).toHaveLength(1);
  });

  it("[AC-20] secrets beside public keys are ignored", async () => {
    await publish({ kty: "oct", k: "c2VjcmV0", kid: "rsa" }, jwk(rsa, "rsa"));
    expect(await verifier().verify(await token())).toBeDefined();
  });

  it("[AC-20] private keys in a fetched set verify nothing", async () => {
    answer = { status: 200, body: JSON.stringify({ keys: [{ ...(await exportJWK(rsa.privateKey)), kid: "rsa" }] }) };
    expect(await refusal(await token())).toBe("malformed");
  });
});

describe("the operator's configuration", () => {
  const issues = (issuer: object): string => {
    const result = settingsSchema.safeParse({ auth: { tokenIssuers: [{ issuer: "i", audience: "a", ...issuer }] } });
    return result.success
      ? ""
      : result.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ");
  };

  it("[AC-17] names what is wrong: keys over plain HTTP, private keys, both or neither source, an issuer twice", async () => {
    expect(issues({ jwksUrl: "http://issuer.test/jwks" })).toContain("must be https");
    expect(issues({ jwksUrl: "http://127.0.0.1.evil.test/jwks" })).toContain("must be https");
    expect(issues({ jwksUrl: "http://localhost:8080/jwks" })).toBe("");
    expect(issues({})).toContain("give jwksUrl or jwks");
    expect(issues({ jwksUrl: "https://x.test/", jwks: { keys: [await jwk(rsa, "r")] } })).toContain(
      "give jwksUrl or jwks",
    );
    expect(issues({ jwks: { keys: [await exportJWK(rsa.privateKey)] } })).toContain('private member "d"');
    expect(issues({ jwks: { keys: [{ kty: "oct", k: "AA" }] } })).toContain("jwks.keys.0.kty");
    expect(issues({ jwksUrl: "https://x.test/", algorithms: ["none"] })).toContain("algorithms");
    const twice = { issuer: "i", audience: "a", jwksUrl: "https://x.test/" };
    const result = settingsSchema.safeParse({ auth: { tokenIssuers: [twice, twice] } });
    expect(result.error?.issues[0]).toMatchObject({ path: ["auth", "tokenIssuers", 1, "issuer"] });
    expect(defaultSettings.auth.tokenIssuers).toEqual([]);
  });
});
