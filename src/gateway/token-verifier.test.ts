// Signed tokens: real signatures by jose, keys from a real HTTP server, and every attack on them that has a name.
import { base64url, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AUDIENCE, ISSUER, jwk, START_MS, TestIssuer } from "../../test/unit/gateway/test-issuer.ts";
import { MAX_SIGNED_TOKEN_CHARACTERS } from "../access/limits.ts";
import { defaultSettings, settingsSchema } from "../cluster/settings.ts";
import { isTokenShaped } from "./token-verifier.ts";

let issuer: TestIssuer;

beforeAll(async () => {
  issuer = await TestIssuer.start();
});
afterAll(() => issuer.stop());
beforeEach(() => issuer.reset());

const encoded = (value: unknown) => base64url.encode(JSON.stringify(value));

describe("a good token", () => {
  it("[AC-16] opens the tenant that its claim names, with its scope, until it expires", async () => {
    const granted = await issuer.verifier().verify(await issuer.token());
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
    await issuer.publish(jwk(pair, "k"));
    const text = await issuer.token({ key: pair.privateKey, header: { alg, kid: "k" } });
    expect(await issuer.verifier({ algorithms: [alg] }).verify(text)).toMatchObject({ tenantId: "acme" });
    expect(await issuer.refusal(text, issuer.verifier({ algorithms: [alg === "RS256" ? "ES256" : "RS256"] }))).toBe(
      "algorithm",
    );
  });

  it("[AC-16] claims and scopes are read as the operator says, and never more is given than the issuer may", async () => {
    const custom = issuer.verifier({
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
    expect(await custom.verify(await issuer.token({ claims }))).toMatchObject({ tenantId: "beta", scope: "admin" });
    const admin = await issuer.token({ claims: { scope: "openid jade:admin jade:read-only" } });
    expect(await issuer.verifier().verify(admin)).toMatchObject({ scope: "read-write" });
    expect(await issuer.verifier({ maxScope: "read-only" }).verify(admin)).toMatchObject({ scope: "read-only" });
  });

  it("[AC-16] one of several audiences is enough, and inline keys need no server", async () => {
    const inline = issuer.verifier({ jwksUrl: undefined, jwks: { keys: [await jwk(issuer.rsa, "rsa")] } });
    expect(await inline.verify(await issuer.token({ claims: { aud: ["x", AUDIENCE] } }))).toMatchObject({
      tenantId: "acme",
    });
    expect(issuer.asked).toBe(0);
  });
});

describe("forged tokens", () => {
  it("[AC-17] without a signature", async () => {
    const payload = encoded({
      iss: ISSUER,
      aud: AUDIENCE,
      exp: issuer.seconds + 600,
      tenant: "acme",
      scope: "jade:admin",
    });
    for (const alg of ["none", "None", "NONE", "nOnE", ""]) {
      expect(isTokenShaped(`${encoded({ alg })}.${payload}.`)).toBe(false);
      expect(await issuer.refusal(`${encoded({ alg, kid: "rsa" })}.${payload}.AAAA`)).toBe("algorithm");
    }
  });

  it("[AC-17] signed by HMAC with the public key, as text, as bytes and as JWK", async () => {
    const pem = await exportSPKI(issuer.rsa.publicKey);
    const publicJwk = JSON.stringify(await exportJWK(issuer.rsa.publicKey));
    for (const secret of [pem, pem.trimEnd(), publicJwk]) {
      for (const alg of ["HS256", "HS384", "HS512"]) {
        const text = await issuer.token({ key: new TextEncoder().encode(secret.padEnd(64)), header: { alg } });
        expect(await issuer.refusal(text)).toBe("algorithm");
      }
    }
    expect(() =>
      settingsSchema.parse({
        auth: { tokenIssuers: [{ issuer: "i", audience: "a", jwksUrl: issuer.url, algorithms: ["HS256"] }] },
      }),
    ).toThrow();
  });

  it("[AC-17] of one algorithm with the key of another", async () => {
    const text = await issuer.token({ key: issuer.ec.privateKey, header: { alg: "ES256", kid: "rsa" } });
    expect(await issuer.refusal(text)).toBe("key");
    const swapped = text.replace(/^[^.]+/, encoded({ alg: "RS256", kid: "rsa" }));
    expect(await issuer.refusal(swapped)).toBe("signature");
  });

  it("[AC-17] with a payload, a header or a signature that was changed", async () => {
    const [header, payload, signature] = (await issuer.token()).split(".") as [string, string, string];
    const claims = JSON.parse(new TextDecoder().decode(base64url.decode(payload)));
    expect(await issuer.refusal(`${header}.${encoded({ ...claims, tenant: "other" })}.${signature}`)).toBe("signature");
    expect(await issuer.refusal(`${header}.${encoded({ ...claims, scope: "jade:admin" })}.${signature}`)).toBe(
      "signature",
    );
    expect(await issuer.refusal(`${encoded({ alg: "RS256", kid: "rsa", x: 1 })}.${payload}.${signature}`)).toBe(
      "signature",
    );
    const flipped = (signature[0] === "A" ? "B" : "A") + signature.slice(1);
    expect(await issuer.refusal(`${header}.${payload}.${flipped}`)).toBe("signature");
    expect(await issuer.refusal(`${header}.${payload}.${signature.slice(0, 40)}`)).toBe("signature");
  });

  it("[AC-17] that bring their own key: jwk, jku, x5u, x5c in the header mean nothing", async () => {
    const forged = { key: issuer.other.privateKey };
    const jwkHeader = await jwk(issuer.other, "rsa");
    for (const header of [
      { jwk: jwkHeader },
      { jku: "http://127.0.0.1:9/jwks" },
      { x5u: "http://127.0.0.1:9/x" },
      { x5c: ["MIIB"] },
    ]) {
      expect(await issuer.refusal(await issuer.token({ ...forged, header }))).toBe("signature");
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
      const text = await issuer.token({ key: issuer.other.privateKey, header: { kid: kid as string } }).catch(() => "");
      const made = text || `${encoded({ alg: "RS256", kid })}.${(await issuer.token()).split(".")[1]}.AAAA`;
      expect(["key", "malformed"]).toContain(await issuer.refusal(made));
    }
  });

  it("[AC-17] with critical extensions that nobody here understands", async () => {
    const [, payload, signature] = (await issuer.token()).split(".");
    expect(
      await issuer.refusal(`${encoded({ alg: "RS256", kid: "rsa", crit: ["x"], x: 1 })}.${payload}.${signature}`),
    ).toBe("malformed");
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
      expect(await issuer.refusal(await issuer.token({ claims: { iss } as JWTPayload }))).toBe("issuer");
    }
    expect(await issuer.refusal(await issuer.token({ claims: { iss: [ISSUER] as never } }))).toBe("claims");
  });

  it("[AC-17] for another audience or for none", async () => {
    for (const aud of [undefined, "", "jad", "jade2", ["x", "y"], []]) {
      expect(await issuer.refusal(await issuer.token({ claims: { aud } as JWTPayload }))).toBe("audience");
    }
  });

  it("[AC-17] too long, not base64url, not JSON, or not three parts", async () => {
    const long = await issuer.token({ claims: { padding: "x".repeat(MAX_SIGNED_TOKEN_CHARACTERS) } });
    expect(isTokenShaped(long)).toBe(false);
    expect(isTokenShaped(await issuer.token())).toBe(true);
    for (const text of ["a.b", "a.b.c.d", "a.b.c=", "a b.c.d", "..", "jdb.acme.0123456789abcdef.AAAA"]) {
      expect(isTokenShaped(text), text).toBe(false);
    }
    for (const text of [
      "a.b.c",
      `${encoded([])}.${encoded([])}.c`,
      `${encoded(null)}.${encoded({})}.c`,
      `${encoded({ alg: "RS256" })}.${encoded("x")}.c`,
    ]) {
      expect(await issuer.refusal(text)).toBe("malformed");
    }
  });
});

describe("times", () => {
  it("[AC-18] expired, not yet valid and issued in the future are refused, with five seconds of tolerance", async () => {
    const good = async (claims: JWTPayload) =>
      (await issuer.verifier().verify(await issuer.token({ claims }))) !== undefined;
    expect(await good({ exp: issuer.seconds - 4 })).toBe(true);
    expect(await issuer.refusal(await issuer.token({ claims: { exp: issuer.seconds - 5 } }))).toBe("expired");
    expect(await good({ nbf: issuer.seconds + 5 })).toBe(true);
    expect(await issuer.refusal(await issuer.token({ claims: { nbf: issuer.seconds + 6 } }))).toBe("notYet");
    expect(await good({ iat: issuer.seconds + 5 })).toBe(true);
    expect(await issuer.refusal(await issuer.token({ claims: { iat: issuer.seconds + 6 } }))).toBe("notYet");
  });

  it("[AC-18] a token that never expires, or whose times are no numbers, is refused", async () => {
    expect(await issuer.refusal(await issuer.token({ claims: { exp: undefined } as never }))).toBe("claims");
    const [header] = (await issuer.token()).split(".");
    expect(header).toBeDefined();
    for (const exp of ["9999999999", null, [9999999999], {}]) {
      const raw = new SignJWT({ iss: ISSUER, aud: AUDIENCE, tenant: "acme", scope: "jade:admin", exp: exp as never });
      expect(
        await issuer.refusal(await raw.setProtectedHeader({ alg: "RS256", kid: "rsa" }).sign(issuer.rsa.privateKey)),
      ).toBe("claims");
    }
  });
});

describe("tenants", () => {
  it("[AC-19] a missing, ill-formed or inherited tenant claim opens nothing", async () => {
    for (const tenant of [undefined, null, "", "Acme", "a/b", "acme ", 7, ["acme"], { id: "acme" }, "x".repeat(64)]) {
      expect(await issuer.refusal(await issuer.token({ claims: { tenant } as JWTPayload }))).toBe("tenant");
    }
    for (const tenantClaim of ["constructor", "__proto__", "toString"]) {
      expect(await issuer.refusal(await issuer.token(), issuer.verifier({ tenantClaim }))).toBe("tenant");
    }
  });

  it("[AC-19] an issuer for some tenants opens no other", async () => {
    const own = issuer.verifier({ tenants: ["acme", "beta"] });
    expect(await own.verify(await issuer.token({ claims: { tenant: "beta" } }))).toBeDefined();
    expect(await issuer.refusal(await issuer.token({ claims: { tenant: "gamma" } }), own)).toBe("tenant");
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
      expect(await issuer.refusal(await issuer.token({ claims: { scope } as JWTPayload }))).toBe("scope");
    }
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
    expect(issues({ jwksUrl: "https://x.test/", jwks: { keys: [await jwk(issuer.rsa, "r")] } })).toContain(
      "give jwksUrl or jwks",
    );
    expect(issues({ jwks: { keys: [await exportJWK(issuer.rsa.privateKey)] } })).toContain('private member "d"');
    expect(issues({ jwks: { keys: [{ kty: "oct", k: "AA" }] } })).toContain("jwks.keys.0.kty");
    expect(issues({ jwksUrl: "https://x.test/", algorithms: ["none"] })).toContain("algorithms");
    const twice = { issuer: "i", audience: "a", jwksUrl: "https://x.test/" };
    const result = settingsSchema.safeParse({ auth: { tokenIssuers: [twice, twice] } });
    expect(result.error?.issues[0]).toMatchObject({ path: ["auth", "tokenIssuers", 1, "issuer"] });
    expect(defaultSettings.auth.tokenIssuers).toEqual([]);
  });
});
