// The target of a request: the quick way says what the URL parser says.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { targetOf } from "./call.ts";

function parsed(text: string): object | undefined {
  try {
    const { protocol, pathname, search } = new URL(text);
    return { protocol, pathname, search };
  } catch {
    return undefined;
  }
}

const ORIGINS = [
  "http://127.0.0.1:8787",
  "http://jade.test",
  "https://jade.test",
  "http://JADE.test",
  "http://jade.test:80",
];

describe("target of a request", () => {
  it.each([
    "/v1/key-value?key=a%20b&consistency=one",
    "/v1/key-value",
    "/v1/key-value?",
    "/v1/../key-value?key=a",
    "/v1/./x",
    "/v1//x",
    "/",
    "/v1/key-value?key='\"<>é",
    "/v1/key-value#part?key=a",
    "/v1/key-value?key=a#part",
    "/v1/key-value?key=a?b",
    "/v1\\key-value?key=a",
    "/v1/%2e%2e/x",
    "/v1/key-value?key=a\tb",
  ])("%s", (rest) => {
    for (const origin of ORIGINS) {
      for (let i = 0; i < 2; i++) expect(targetOf(origin + rest)).toEqual(parsed(origin + rest));
    }
  });

  it("a host that makes no URL has none, whatever was asked for before", () => {
    targetOf("http://jade.test/v1/key-value");
    for (const text of ["http://jade.test:x/v1/key-value", "http:///v1", "http://a b/v1/key-value", "http://[/v1"])
      expect(targetOf(text)).toEqual(parsed(text));
  });

  it("any text", () => {
    const character = fc.constantFrom(..."aZ09-_.~=&%+?#/\\:@ '\"<>\t\u00e9\ud83d");
    const rest = fc.array(character, { maxLength: 12 }).map((characters) => characters.join(""));
    fc.assert(
      fc.property(fc.constantFrom(...ORIGINS), rest, (origin, text) => {
        targetOf(`${origin}/v1`);
        expect(targetOf(`${origin}/${text}`)).toEqual(parsed(`${origin}/${text}`));
        expect(targetOf(`${origin}${text}`)).toEqual(parsed(`${origin}${text}`));
      }),
      { numRuns: 2000 },
    );
  });
});
