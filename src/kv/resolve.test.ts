// What a reader sees, by policy; and the JSON merge that keeps bytes.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { reached } from "../../test/unit/replication/arbitraries.ts";
import { addDots, coversAny } from "./clock.ts";
import { EMPTY_STATE, type KeyState, type Version } from "./key-state.ts";
import { rawMembers } from "./raw-object.ts";
import { mergeValues, resolveState } from "./resolve.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Versions in the order given: oldest first; undefined = a delete. */
function stateOf(...texts: (string | undefined)[]): KeyState {
  const versions: Version[] = texts.map((text, i) => ({
    writeId: new Uint8Array(16).fill(i),
    dots: [{ actor: 4097, counter: i + 1 }],
    time: i + 1,
    restamped: false,
    value: text === undefined ? undefined : encode(text),
  }));
  const clock = addDots(
    { ...EMPTY_STATE.clock, time: texts.length },
    versions.flatMap((version) => version.dots),
  );
  return { clock, unsettled: [], versions };
}

function shown(state: KeyState, policy: Parameters<typeof resolveState>[1]): string | undefined {
  const resolved = resolveState(state, policy);
  return resolved.kind === "value" ? decode(resolved.value) : undefined;
}

describe("resolving", () => {
  it("[KV-22] siblings: all versions, tombstones included, and the newest live one as the value", () => {
    const resolved = resolveState(stateOf("1", "2", undefined), "siblings");
    if (resolved.kind !== "value") throw new Error(resolved.kind);
    expect(decode(resolved.value)).toBe("2");
    expect(resolved.siblings?.map(({ value }) => value && decode(value))).toEqual(["1", "2", undefined]);
    expect(resolveState(stateOf("1"), "siblings")).toMatchObject({ kind: "value", siblings: undefined });
  });

  it("[KV-3] [KV-15] only tombstones, or nothing: not found, with the context", () => {
    for (const state of [stateOf(undefined, undefined), EMPTY_STATE])
      for (const policy of ["siblings", "lastWriteWins", "jsonMerge"] as const)
        expect(resolveState(state, policy)).toEqual({ kind: "notFound", clock: state.clock });
  });

  it("[KV-19] a sibling's clock names that version and no other", () => {
    fc.assert(
      fc.property(reached, ({ states: [state] }) => {
        const resolved = resolveState(state!, "siblings");
        if (resolved.kind !== "value" || !resolved.siblings) return;
        for (const [i, sibling] of resolved.siblings.entries())
          for (const [j, version] of state!.versions.entries())
            expect(coversAny(sibling.clock, version.dots)).toBe(i === j);
      }),
    );
  });

  it("[KV-13] lastWriteWins: the newest version, and a newest delete hides the key", () => {
    expect(shown(stateOf("1", "2"), "lastWriteWins")).toBe("2");
    expect(shown(stateOf("1", undefined), "lastWriteWins")).toBeUndefined();
    expect(shown(stateOf(undefined, "1"), "lastWriteWins")).toBe("1");
    expect(resolveState(stateOf("1", "2"), "lastWriteWins")).toMatchObject({ siblings: undefined });
  });

  it("[KV-14] jsonMerge: objects member by member, the newer wins, deletes take no part", () => {
    expect(shown(stateOf('{"a":1,"b":{"x":1}}', undefined, '{"b":{"y":2},"c":3}'), "jsonMerge")).toBe(
      '{"a":1,"b":{"x":1,"y":2},"c":3}',
    );
    expect(shown(stateOf('{"a":1}', "[1]"), "jsonMerge")).toBe("[1]");
  });

  it("[KV-23] reading changes no state", () => {
    fc.assert(
      fc.property(reached, fc.constantFrom("siblings", "lastWriteWins", "jsonMerge"), ({ states: [state] }, policy) => {
        const before = structuredClone(state);
        resolveState(state!, policy);
        expect(state).toEqual(before);
      }),
    );
  });
});

describe("raw members", () => {
  const spaced = fc.constantFrom("", " ", "\n\t");

  it("[KV-16] every member's text is kept byte for byte", () => {
    const literal = fc.oneof(
      fc.constantFrom(
        "9007199254740993",
        "1.0",
        "-0",
        "1e400",
        '"\\u0041\\""',
        '[ 1 , {"a" : 2} ]',
        '{"b":1.0, "a":2}',
        "null",
        "true",
      ),
      fc.jsonValue().map((item) => JSON.stringify(item)),
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.string(), literal), { selector: ([name]) => name, maxLength: 6 }),
        spaced,
        (members, space) => {
          const text = `${space}{${members.map(([name, raw]) => `${space}${JSON.stringify(name)}${space}:${space}${raw}${space}`).join(",")}}${space}`;
          expect([...rawMembers(text)!]).toEqual(members.map(([name, raw]) => [name, raw]));
        },
      ),
    );
  });

  it("[KV-14] merging agrees with a merge of the parsed values", () => {
    const twin = (older: unknown, newer: unknown): unknown => {
      const isObject = (item: unknown): item is Record<string, unknown> =>
        typeof item === "object" && item !== null && !Array.isArray(item);
      if (!isObject(older) || !isObject(newer)) return newer;
      const merged = new Map(Object.entries(older));
      for (const [name, item] of Object.entries(newer))
        merged.set(name, merged.has(name) ? twin(merged.get(name), item) : item);
      return Object.fromEntries(merged);
    };
    fc.assert(
      fc.property(fc.array(fc.jsonValue({ maxDepth: 3 }), { minLength: 1, maxLength: 4 }), (items) => {
        const values = items.map((item) => encode(JSON.stringify(item)));
        const merged = mergeValues(values);
        expect(JSON.parse(decode(merged))).toEqual(JSON.parse(JSON.stringify(items.reduce<unknown>(twin, items[0]))));
        expect(mergeValues(values)).toEqual(merged);
      }),
    );
  });

  it("[KV-16] a number that JSON.parse would round survives a merge", () => {
    const values = ['{"big":9007199254740993,"one":1.0}', '{"x":{ "y":1 }}'].map(encode);
    expect(decode(mergeValues(values))).toBe('{"big":9007199254740993,"one":1.0,"x":{ "y":1 }}');
  });

  it("what is not an object has no members", () => {
    for (const text of ["1", '"{}"', "[{}]", "null", " true"]) expect(rawMembers(text)).toBeUndefined();
    expect(rawMembers(" { } ")).toEqual(new Map());
  });
});

it("[KV-14] jsonMerge: depth is bounded, so a deeply nested pair of siblings is answered at once", () => {
  const nested = (leaf: string) => new TextEncoder().encode(`${'{"a":'.repeat(8000)}${leaf}${"}".repeat(8000)}`);
  expect(mergeValues([nested("1"), nested("2")])).toEqual(nested("2"));
});
