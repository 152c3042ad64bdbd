// What fuzzers do to JSON: evil values in places of good ones, members lost, doubled and added, texts damaged.
// Guarantees: the same choices give the same bytes; sizes are bounded, so that a run makes many requests.
import type { Choices } from "./random.ts";

const encoder = new TextEncoder();

/** JSON texts, some of which JSON.stringify would never write. */
export const EVIL_TEXTS: readonly string[] = [
  ..."null true false 0 -0 -1 1.5 1e400 -1e400 1e-400 9007199254740993 99999999999999999999999 2147483648 4294967296".split(
    " ",
  ),
  ...['""', '" "', '"\\u0000"', '"\\ud800"', '"\\udc00x"', '"\\uffff"', '"\\ufeff"', '"\u202e"', '"__proto__"'],
  ...['"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59.999-23:59"', '"0000-01-01T00:00:00Z"', '"2024-02-29T24:00:00Z"'],
  ...['"2099-12-31T23:59:60Z"', '"2099-12-31T23:59:59.1234567890123+14:00"', '"2099-06-31T00:00Z"', '"+1"', '"1e2"'],
  ...["[]", "{}", "[[]]", '[{"a":[]}]', '{"__proto__":{"x":1}}', '{"constructor":1}', '{"":0}', '["n1.1",1]'],
  ...['{"n1.1":1}', '{"n1.1":[0,5]}', '{"n1.1":9007199254740991}', '{"n9.9":7}', '{"@":9007199254740991}', '{"@":0}'],
  ...['{"n1.1":[1,2,2]}', '{"n1048576.4095":1}', '{"n1.1":[[1]]}', '{"n1.1":{"a":1}}', '{"n01.1":1}', '{"n1.1":-0}'],
];

const DEPTHS = [10, 200, 5000, 50_000];
const LENGTHS = [1024, 1025, 3000, 70_000];

function nested(choices: Choices): string {
  const depth = choices.weighted([
    [40, DEPTHS[0]!],
    [30, DEPTHS[1]!],
    [20, DEPTHS[2]!],
    [10, DEPTHS[3]!],
  ]);
  const inner = choices.pick(["", "1", '"x"']);
  return choices.chance(0.5)
    ? `${"[".repeat(depth)}${inner}${"]".repeat(depth)}`
    : `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
}

export function evilText(choices: Choices): string {
  return choices.weighted<() => string>([
    [80, () => choices.pick(EVIL_TEXTS)],
    [8, () => nested(choices)],
    [6, () => `"${choices.pick(["k", "€", "\\u0041", "😀"]).repeat(choices.pick(LENGTHS))}"`],
    [6, () => String((choices.next() - 0.5) * 10 ** choices.below(20))],
  ])();
}

/** An object's text, member by member. */
function memberTexts(json: Record<string, unknown>): [name: string, text: string][] {
  return Object.entries(json).map(([name, value]) => [JSON.stringify(name), JSON.stringify(value) ?? "null"]);
}

/** The JSON text of `json` with one place changed, at any depth. */
function changed(json: unknown, choices: Choices): string {
  if (Array.isArray(json) && json.length > 0 && choices.chance(0.8)) {
    const at = choices.below(json.length);
    return `[${json.map((item, i) => (i === at ? changed(item, choices) : JSON.stringify(item))).join(",")}]`;
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return evilText(choices);
  const members = memberTexts(json as Record<string, unknown>);
  const at = choices.below(Math.max(1, members.length));
  const one = members[at];
  const rename = (name: string): void => {
    if (one) one[0] = name;
  };
  const replace = (text: string): void => {
    if (one) one[1] = text;
  };
  choices.weighted<() => void>([
    [50, () => replace(changed(Object.values(json)[at], choices))],
    [15, () => void members.splice(at, 1)],
    [15, () => one && members.push([one[0], choices.chance(0.5) ? one[1] : evilText(choices)])],
    [10, () => members.push([choices.pick(['"ttl"', '"__proto__"', '""', '"KEY"', '"\\ud800"']), evilText(choices)])],
    [10, () => rename(choices.pick(['"\\u006bey"', '"vector_clock"', '"toString"', '"k\\u0000"']))],
  ])();
  const space = choices.pick(["", "", "", " ", "\n\t"]);
  return `{${members.map(([name, text]) => `${space}${name}${space}:${text}`).join(",")}}`;
}

const DAMAGED: readonly Uint8Array[] = [
  Uint8Array.of(),
  Uint8Array.of(0xff),
  Uint8Array.of(0xef, 0xbb, 0xbf, 0x7b, 0x7d),
  Uint8Array.of(0xed, 0xa0, 0x80),
  ...["{", "}", "null", "[]", '"x"', "7", "{}x", "{'a':1}", "{} {}", '{"key":"a","value":NaN}', " "].map((text) =>
    encoder.encode(text),
  ),
];

function damaged(text: string, choices: Choices): Uint8Array {
  const bytes = encoder.encode(text);
  const at = choices.below(bytes.length + 1);
  return choices.weighted<() => Uint8Array>([
    [30, () => bytes.map((byte, i) => (i === at ? choices.below(256) : byte))],
    [25, () => bytes.subarray(0, at)],
    [25, () => Uint8Array.from([...bytes.subarray(0, at), choices.below(256), ...bytes.subarray(at)])],
    [20, () => choices.pick(DAMAGED)],
  ])();
}

/** The bytes of a body: as it is, changed in one place or more, or damaged. */
export function bodyBytes(json: unknown, choices: Choices): Uint8Array {
  const kind = choices.weighted([
    [55, "valid"],
    [32, "changed"],
    [13, "damaged"],
  ] as const);
  if (kind === "valid") return encoder.encode(JSON.stringify(json));
  if (kind === "changed") return encoder.encode(changed(json, choices));
  return damaged(choices.chance(0.8) ? JSON.stringify(json) : changed(json, choices), choices);
}
