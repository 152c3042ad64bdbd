// rawMember and rawItems against JSON.parse on random documents with random spacing, escapes and duplicate names.
import fc from "fast-check";
import { expect, test } from "vitest";
import { rawItems, rawMember } from "./raw-json.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array, slice: { start: number; end: number } | undefined) =>
  slice && new TextDecoder().decode(bytes.subarray(slice.start, slice.end));

const space = fc.constantFrom("", " ", "\n", "\t\r ", "  ");
// No name, at any depth, may be unescaped to hold a backslash: V8 13.6 (Node 24) then misreads later names. Once it has parsed
// {"k":1,"\\":2} it takes {"k":1,"\"":2} for the same two names. Node 20 and workerd 2026-11-17 do not.
const withoutBackslash = (text: string): boolean => !text.includes("\\\\");
const name = fc.oneof(fc.constantFrom("value", "key", "va\\u006cue", 'a\\"', '\\"', ""), fc.string()).filter((text) => {
  return !text.replaceAll(/\\(u006c|")/g, "").includes("\\");
});
const nameText = name.map((text) => {
  try {
    JSON.parse(`"${text}"`);
    return `"${text}"`;
  } catch {
    return JSON.stringify(text);
  }
});
const valueText = fc.oneof(
  fc
    .jsonValue()
    .map((value) => JSON.stringify(value))
    .filter(withoutBackslash),
  fc
    .jsonValue()
    .map((value) => JSON.stringify(value, undefined, 2))
    .filter(withoutBackslash),
  fc.constantFrom("9007199254740993", "1.0", "-0", "1e400", '"\\\\"', '"}\\"]"', '"\\ud800"', "[[[]]]", '{"value":{}}'),
);
const document = fc
  .array(fc.tuple(nameText, space, space, valueText, space), { maxLength: 8 })
  .map((members) => `{${members.map(([n, a, b, v, c]) => `${a}${n}${b}:${c}${v}${a}`).join(",")}}`);

test("[GW-2] the raw text of a member parses to what JSON.parse gives for it, the last of duplicates", () => {
  fc.assert(
    fc.property(document, (text) => {
      const bytes = encode(text);
      const parsed = JSON.parse(text) as Record<string, unknown>;
      for (const wanted of ["value", "key", 'a"', "absent", ...Object.keys(parsed)]) {
        const raw = textOf(bytes, rawMember(bytes, wanted));
        expect(raw !== undefined).toBe(Object.hasOwn(parsed, wanted));
        if (raw === undefined) continue;
        expect(JSON.parse(raw)).toEqual(parsed[wanted]);
        expect(raw).toBe(raw.trim());
      }
    }),
    { numRuns: 2000 },
  );
});

test("[GW-2] raw items are the items", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(space, valueText, space)), space, (items, before) => {
      const text = `${before}[${items.map(([a, v, b]) => a + v + b).join(",")}]`;
      const bytes = encode(text);
      expect(rawItems(bytes).map((slice) => textOf(bytes, slice))).toEqual(items.map(([, v]) => v));
    }),
  );
});

test("deep nesting and long strings do not overflow the stack", () => {
  const deep = `{"value":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  const bytes = encode(deep);
  expect(rawMember(bytes, "value")).toEqual({ start: 9, end: 200_009 });
});
