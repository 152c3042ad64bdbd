// An issuer's keys from a real HTTP server: rotation, what unknown key ids may cost, and what happens while the issuer is away.
import { exportJWK } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { jwk, type Published, START_MS, TestIssuer } from "../../test/unit/gateway/test-issuer.ts";
import { PublicError } from "../wire/error-codes.ts";
import { KEYS_FETCH_COOLDOWN_MS, MAX_KEYS_BYTES } from "./limits.ts";

let issuer: TestIssuer;

beforeAll(async () => {
  issuer = await TestIssuer.start();
});
afterAll(() => issuer.stop());
beforeEach(() => issuer.reset());

const serve = (published: () => Published) => () => {
  issuer.answer = published();
};

describe("rotation", () => {
  it("[AC-20] a key that the issuer added is found at once, one that it took out is refused within the refresh time", async () => {
    const by = issuer.verifier();
    const old = await issuer.token();
    const held = await by.verify(old);
    expect(issuer.asked).toBe(1);
    await issuer.publish(jwk(issuer.other, "new"));
    issuer.nowMs += KEYS_FETCH_COOLDOWN_MS;
    expect(await by.verify(await issuer.token({ key: issuer.other.privateKey, header: { kid: "new" } }))).toBeDefined();
    expect(issuer.asked).toBe(2);
    expect(held!.keys.isTrusted(held!.generation), "what was verified with the old keys").toBe(false);
    expect(await issuer.refusal(old, by)).toBe("key");
  });

  it("[AC-20] without a new key a rotated-out one is refused once the set is as old as it may get", async () => {
    const by = issuer.verifier();
    const text = await issuer.token({ claims: { exp: issuer.seconds + 9999 } });
    const held = await by.verify(text);
    await issuer.publish(jwk(issuer.ec, "ec"));
    issuer.nowMs += 299_000;
    expect(held!.keys.isTrusted(held!.generation)).toBe(true);
    issuer.nowMs += 1000;
    expect(held!.keys.isTrusted(held!.generation)).toBe(false);
    expect(await issuer.refusal(text, by)).toBe("key");
    expect(issuer.asked).toBe(2);
  });

  it("[AC-20] from half its age on the set is fetched behind a request, and trust goes on", async () => {
    const by = issuer.verifier();
    const held = await by.verify(await issuer.token());
    const behind: Promise<unknown>[] = [];
    held!.keys.refreshBehind((work) => behind.push(work));
    expect(behind).toHaveLength(0);
    issuer.nowMs += 150_000;
    held!.keys.refreshBehind((work) => behind.push(work));
    held!.keys.refreshBehind((work) => behind.push(work));
    expect(behind).toHaveLength(1);
    await Promise.all(behind);
    issuer.nowMs += 299_000;
    expect(held!.keys.isTrusted(held!.generation)).toBe(true);
  });

  it("[AC-20] unknown key ids cause one fetch a cooldown, however many come", async () => {
    const by = issuer.verifier();
    await by.verify(await issuer.token());
    issuer.nowMs += KEYS_FETCH_COOLDOWN_MS;
    const before = issuer.asked;
    const forged = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        issuer.token({ key: issuer.other.privateKey, header: { kid: `k${index}` } }),
      ),
    );
    expect((await Promise.all(forged.map((text) => by.verify(text)))).every((verified) => verified === undefined)).toBe(
      true,
    );
    for (const text of forged) await by.verify(text);
    expect(issuer.asked - before).toBe(1);
  });

  it("[AC-80] a key that was replaced under its key id is found by the first token that the old one does not verify", async () => {
    const by = issuer.verifier();
    const old = await issuer.token();
    await by.verify(old);
    await issuer.publish(jwk(issuer.other, "rsa"));
    issuer.nowMs += KEYS_FETCH_COOLDOWN_MS;
    expect(await by.verify(await issuer.token({ key: issuer.other.privateKey }))).toBeDefined();
    expect(issuer.asked).toBe(2);
    expect(await issuer.refusal(old, by)).toBe("signature");
    expect(issuer.asked, "not again within the cooldown").toBe(2);
  });

  it("[AC-80] forged signatures under a known key id cause one fetch a cooldown, however many come, and end no trust", async () => {
    const by = issuer.verifier();
    const held = await by.verify(await issuer.token());
    issuer.nowMs += KEYS_FETCH_COOLDOWN_MS;
    const before = issuer.asked;
    const forged = await Promise.all(
      Array.from({ length: 30 }, (_, i) => issuer.token({ key: issuer.other.privateKey, claims: { sub: `s${i}` } })),
    );
    expect((await Promise.all(forged.map((text) => by.verify(text)))).every((one) => one === undefined)).toBe(true);
    for (const text of forged) await by.verify(text);
    expect(issuer.asked - before).toBe(1);
    expect(held!.keys.isTrusted(held!.generation)).toBe(true);
  });

  it("[AC-20] many first tokens at once cause one fetch", async () => {
    issuer.answer = { ...issuer.answer, delayMs: 60 };
    const by = issuer.verifier();
    const text = await issuer.token();
    // Time passes for those who wait.
    const timer = setInterval(() => {
      issuer.nowMs += 5;
    }, 5);
    const verified = await Promise.all(Array.from({ length: 20 }, () => by.verify(text)));
    clearInterval(timer);
    expect(verified.every(Boolean)).toBe(true);
    expect(issuer.asked).toBe(1);
  });
});

describe("the issuer away", () => {
  it("[AC-20] its last keys serve for the configured time, then nobody knows", async () => {
    const by = issuer.verifier();
    const text = await issuer.token({ claims: { exp: issuer.seconds + 99_999 } });
    const held = await by.verify(text);
    issuer.answer = { status: 500, body: "" };
    issuer.nowMs += 301_000;
    expect(await by.verify(text)).toBeDefined();
    expect(issuer.asked).toBe(2);
    expect(held!.keys.isTrusted(held!.generation), "not verified again for each request").toBe(true);
    await by.verify(text);
    expect(issuer.asked, "issuer.asked again too soon").toBe(2);
    issuer.nowMs = START_MS + 59 * 60_000;
    expect(await by.verify(text)).toBeDefined();
    issuer.nowMs = START_MS + 61 * 60_000;
    await expect(by.verify(text)).rejects.toMatchObject({ code: "unavailable" });
    await issuer.publish(jwk(issuer.rsa, "rsa"));
    issuer.nowMs += KEYS_FETCH_COOLDOWN_MS;
    expect(await by.verify(text)).toBeDefined();
  });

  it.each<[string, () => Promise<void> | void]>([
    ["an error", serve(() => ({ status: 503, body: "{}" }))],
    ["a redirect", serve(() => ({ status: 302, body: "", headers: { location: `${issuer.url}/moved` } }))],
    ["no JSON", serve(() => ({ status: 200, body: "<html>" }))],
    ["no key set", serve(() => ({ status: 200, body: '{"keys":{}}' }))],
    ["an empty key set", () => issuer.publish()],
    ["secrets only", () => issuer.publish({ kty: "oct", k: "c2VjcmV0", kid: "rsa" })],
    [
      "too many keys",
      () =>
        issuer.publish(...Array.from({ length: 101 }, (_, i) => ({ kty: "RSA", n: "AQAB", e: "AQAB", kid: `${i}` }))),
    ],
    ["too much", serve(() => ({ status: 200, body: " ".repeat(MAX_KEYS_BYTES + 1) }))],
  ])("[AC-20] %s in place of keys is a failure that is told to the log, and no token passes", async (_, set) => {
    await set();
    await expect(issuer.verifier().verify(await issuer.token())).rejects.toBeInstanceOf(PublicError);
    expect(issuer.failures).toHaveLength(1);
  });

  it("[AC-20] secrets beside public keys are ignored", async () => {
    await issuer.publish({ kty: "oct", k: "c2VjcmV0", kid: "rsa" }, jwk(issuer.rsa, "rsa"));
    expect(await issuer.verifier().verify(await issuer.token())).toBeDefined();
  });

  it("[AC-20] private keys in a fetched set verify nothing", async () => {
    issuer.answer = {
      status: 200,
      body: JSON.stringify({ keys: [{ ...(await exportJWK(issuer.rsa.privateKey)), kid: "rsa" }] }),
    };
    expect(await issuer.refusal(await issuer.token())).toBe("malformed");
  });
});
