// What an operator says about an issuer of signed tokens (JWT): one zod schema for types, defaults and bounds.
// Guarantees: only public-key algorithms exist here, so that no token is ever verified with a secret that a public key could pass
// for; a key set comes inline or from a URL that nobody on the way can change. Must not: verify anything.
import { z } from "zod";

/** Public-key signatures that WebCrypto verifies in workerd and Node. `none` and HMAC are not among them, on purpose. */
export const tokenAlgorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
] as const;

const MAX_NAME = 2048;
const LOOPBACK_HTTP = /^http:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?(\/|$)/i;
const TENANT_ID = /^[a-z0-9][a-z0-9_-]{0,62}$/;
const PRIVATE_MEMBERS = ["d", "k", "p", "q", "dp", "dq", "qi"] as const;

const publicKey = z.looseObject({ kty: z.enum(["RSA", "EC", "OKP"]) }).check((context) => {
  for (const name of PRIVATE_MEMBERS) {
    if (!(name in context.value)) continue;
    const message = `holds the private member "${name}": put public keys here only`;
    context.issues.push({ code: "custom", path: [name], input: undefined, message });
  }
});

const text = (maxCharacters: number) => z.string().min(1).max(maxCharacters);

export const tokenIssuer = z
  .strictObject({
    issuer: text(MAX_NAME).describe("The exact `iss` of its tokens."),
    audience: text(MAX_NAME).describe("What `aud` must be or contain: the name of this deployment at the issuer."),
    jwksUrl: z
      .url({ protocol: /^https?$/ })
      .max(MAX_NAME)
      .optional()
      .describe("Where its public keys are. https, or http on loopback."),
    jwks: z
      .strictObject({ keys: z.array(publicKey).min(1).max(100) })
      .optional()
      .describe("The public keys themselves, in place of jwksUrl."),
    algorithms: z
      .array(z.enum(tokenAlgorithms))
      .min(1)
      .default(["RS256", "ES256", "EdDSA"])
      .describe("Signature algorithms that are accepted. Others, `none` and HMAC never are."),
    tenantClaim: text(200).default("tenant").describe("The claim that names the tenant by its id."),
    scopeClaim: text(200).default("scope").describe("The claim with the scopes: words in one text, or a list."),
    scopePrefix: z
      .string()
      .max(100)
      .default("jade:")
      .describe("In front of a scope's name: `jade:read-only`, `jade:read-write`, `jade:admin`."),
    maxScope: z
      .enum(["read-only", "read-write", "admin"])
      .default("read-write")
      .describe("No token of this issuer gets more, whatever it says."),
    tenants: z
      .array(z.string().regex(TENANT_ID, "must be tenant ids"))
      .min(1)
      .max(10_000)
      .optional()
      .describe("The only tenants its tokens may name. None given: every tenant."),
  })
  .check((context) => {
    const { jwksUrl, jwks } = context.value;
    const refuse = (path: string, message: string): void => {
      context.issues.push({ code: "custom", path: [path], input: jwksUrl, message });
    };
    if ((jwksUrl === undefined) === (jwks === undefined)) refuse("jwksUrl", "give jwksUrl or jwks, one of them");
    if (jwksUrl !== undefined && !/^https:/i.test(jwksUrl) && !LOOPBACK_HTTP.test(jwksUrl)) {
      refuse("jwksUrl", "must be https: who can change the keys on their way can sign any token");
    }
  });

export const tokenIssuers = z
  .array(tokenIssuer)
  .max(50)
  .default([])
  .check((context) => {
    const seen = new Set<string>();
    for (const [index, { issuer }] of context.value.entries()) {
      if (seen.has(issuer)) {
        context.issues.push({ code: "custom", path: [index, "issuer"], input: issuer, message: "is listed twice" });
      }
      seen.add(issuer);
    }
  });

export type TokenIssuerSettings = z.output<typeof tokenIssuer>;
