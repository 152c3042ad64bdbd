// Takes secrets out of what leaves the machine in a bundle.
// Guarantees: fields that are named like secrets lose their values; keys, tokens and passwords inside texts go too.

const SECRET_NAME = /key|secret|token|password|authorization|credential/i;
/** Names that match and are none: how many, which kind, how long. */
const HARMLESS = /^(keyValue|keys|keyBytes|keyCount|keyId|maxKeys|maxKeyBytes)$/;
const REMOVED = "(removed)";
const SECRETS_IN_TEXT: readonly RegExp[] = [
  /jdb\.[A-Za-z]+\.[\w.-]+/g,
  /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, // a signed token
  /(?<=:\/\/)[^/\s@]+(?=@)/g, // user:password@ of an address
  /(?<=[Bb]earer )[\w.~+/=-]+/g,
];

export function redactText(text: string): string {
  return SECRETS_IN_TEXT.reduce((clean, pattern) => clean.replace(pattern, REMOVED), text);
}

/** A copy of plain data without secrets. */
export function redact(value: unknown, name = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => redact(item, name));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, redact(inner, field)]));
  if (typeof value !== "string") return value;
  return SECRET_NAME.test(name) && !HARMLESS.test(name) ? REMOVED : redactText(value);
}
