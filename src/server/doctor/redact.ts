// Takes secrets out of what leaves the machine in a bundle.
// Guarantees: fields that are named like secrets lose their values; keys, tokens and passwords inside texts go too, and what the environment holds as secrets
// wherever it stands.

const SECRET_NAME = /key|secret|token|password|authorization|credential/i;
/** Names that match and are none: how many, which kind, how long. */
const HARMLESS = /^(keyValue|keys|keyBytes|keyCount|keyId|maxKeys|maxKeyBytes)$/;
/** Of the environment: what `serve` and what it starts are told. */
const SECRET_VARIABLE = /(KEY|SECRET|TOKEN|PASSWORD)$/;
/** Shorter ones would take words of the text with them; none that the server accepts is. */
const LEAST_SECRET_CHARACTERS = 8;
const REMOVED = "(removed)";
const SECRETS_IN_TEXT: readonly RegExp[] = [
  /jdb\.[A-Za-z]+\.[\w.-]+/g,
  /whsec_[\w+/=-]+/g,
  /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, // a signed token
  /(?<=:\/\/)[^/\s@]+(?=@)/g, // user:password@ of an address
  /(?<=bearer )[\w.~+/=-]+/gi,
  /(?<=(?:password|secret|token|(?:api|root|access|cluster|private)[-_]?key)["']?\s?[:=]\s?["']?)[^\s"',;&}]+/gi,
];

/** What must stand nowhere in a bundle. */
export function secretsOf(env: NodeJS.ProcessEnv): readonly string[] {
  const held = Object.entries(env).filter(([name]) => SECRET_VARIABLE.test(name));
  return held.flatMap(([, value = ""]) => (value.length >= LEAST_SECRET_CHARACTERS ? [value] : []));
}

export function redactText(text: string, secrets: readonly string[] = []): string {
  const without = secrets.reduce((clean, secret) => clean.replaceAll(secret, REMOVED), text);
  return SECRETS_IN_TEXT.reduce((clean, pattern) => clean.replace(pattern, REMOVED), without);
}

/** A copy of plain data without secrets. */
export function redact(value: unknown, secrets: readonly string[] = [], name = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => redact(item, secrets, name));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, redact(inner, secrets, field)]));
  if (typeof value !== "string") return value;
  return SECRET_NAME.test(name) && !HARMLESS.test(name) ? REMOVED : redactText(value, secrets);
}
