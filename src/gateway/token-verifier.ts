// Verifies signed tokens (JWT) against the issuers that the operator named.
// Guarantees: algorithm from the issuer's allow-list, key from its key set, `iss`, `aud`, `exp`, `nbf` and `iat` checked before a claim
// is believed; what a token says about where its key lies (jwk, jku, x5u) is ignored, `kid` only selects. Why a token is refused is
// counted and never told. Must not: log tokens or claims.
import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import { MAX_SIGNED_TOKEN_CHARACTERS } from "../access/limits.ts";
import { grantOf, type TokenGrant, type TokenRefusal, type TokenTimes } from "../access/token-claims.ts";
import type { Settings } from "../cluster/settings.ts";
import type { TokenIssuerSettings } from "../cluster/token-issuer.ts";
import { type FetchKeys, type FindKey, IssuerKeys } from "./issuer-keys.ts";

const SHAPE = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** What a token was found to grant. */
export interface VerifiedToken extends TokenGrant, TokenTimes {
  readonly keys: IssuerKeys;
  /** Of the keys, when it was verified. */
  readonly generation: number;
}

export interface TokenVerifierOptions {
  readonly settings: Settings["auth"];
  readonly now: () => number;
  readonly fetch: FetchKeys;
  readonly count: (metric: string) => void;
  readonly onKeysFailure: (issuer: string, error: unknown) => void;
}

interface Issuer {
  readonly settings: TokenIssuerSettings;
  readonly keys: IssuerKeys;
}

/** True for the form of a signed token; an API key has four parts. */
export function isTokenShaped(text: string): boolean {
  return text.length <= MAX_SIGNED_TOKEN_CHARACTERS && SHAPE.test(text);
}

function refusalOf(error: unknown): TokenRefusal {
  if (error instanceof errors.JWTExpired) return "expired";
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "aud") return "audience";
    return error.claim === "nbf" || error.claim === "iat" ? "notYet" : "claims";
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return "signature";
  if (error instanceof errors.JOSEAlgNotAllowed) return "algorithm";
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) return "key";
  return "malformed";
}

export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  readonly #issuers = new Map<string, Issuer>();

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
    const { settings, now, fetch, onKeysFailure } = options;
    for (const issuer of settings.tokenIssuers) {
      const keys = new IssuerKeys({
        jwksUrl: issuer.jwksUrl,
        jwks: issuer.jwks,
        refreshMs: settings.tokenKeysRefreshSeconds * 1000,
        staleMs: settings.tokenKeysStaleMinutes * 60_000,
        now,
        fetch,
        onFailure: (error) => onKeysFailure(issuer.issuer, error),
      });
      this.#issuers.set(issuer.issuer, { settings: issuer, keys });
    }
  }

  /** False when nobody may issue tokens. */
  get isOn(): boolean {
    return this.#issuers.size > 0;
  }

  /** Undefined = refused. Throws `unavailable` when the issuer's keys cannot be had. */
  async verify(token: string): Promise<VerifiedToken | undefined> {
    const verified = await this.#judge(token);
    if (typeof verified === "object") return verified;
    this.#options.count(`jade_auth_tokens_refused_total{reason="${verified}"}`);
    return undefined;
  }

  async #judge(token: string): Promise<VerifiedToken | TokenRefusal> {
    let issuer: Issuer | undefined;
    try {
      const { alg } = decodeProtectedHeader(token);
      issuer = this.#issuers.get(String(decodeJwt(token).iss));
      if (!issuer) return "issuer";
      if (!(issuer.settings.algorithms as readonly (string | undefined)[]).includes(alg)) return "algorithm";
    } catch {
      return "malformed"; // not base64url of JSON objects: nothing that an issuer could have made
    }
    const { settings, keys } = issuer;
    const find = await keys.current();
    let { generation } = keys;
    let payload: JWTPayload | TokenRefusal = await this.#verified(token, settings, find);
    if (payload === "key" || payload === "signature") {
      // Rotated, perhaps under the same key id: the issuer signs with a key that is younger than what is known here.
      const younger = await keys.younger(generation);
      if (!younger) return payload;
      ({ generation } = keys);
      payload = await this.#verified(token, settings, younger);
    }
    if (typeof payload === "string") return payload;
    const grant = grantOf(settings, payload);
    if (typeof grant === "string") return grant;
    const toleranceMs = this.#options.settings.tokenClockToleranceSeconds * 1000;
    const issuedAtMs = payload.iat === undefined ? null : payload.iat * 1000;
    return {
      ...grant,
      expiresAtMs: Math.min(payload.exp! * 1000 + toleranceMs, Number.MAX_SAFE_INTEGER),
      issuedAtMs,
      keys,
      generation,
    };
  }

  async #verified(token: string, issuer: TokenIssuerSettings, find: FindKey): Promise<JWTPayload | TokenRefusal> {
    const { now, settings } = this.#options;
    try {
      const { payload } = await jwtVerify(token, find, {
        algorithms: [...issuer.algorithms],
        issuer: issuer.issuer,
        audience: issuer.audience,
        requiredClaims: ["exp"],
        clockTolerance: settings.tokenClockToleranceSeconds,
        currentDate: new Date(now()),
      });
      const tolerance = settings.tokenClockToleranceSeconds;
      // jose looks at `iat` only with a greatest age: a token of tomorrow must not outlive `tokensValidAfter`.
      return payload.iat !== undefined && payload.iat > now() / 1000 + tolerance ? "notYet" : payload;
    } catch (error) {
      return refusalOf(error);
    }
  }
}
