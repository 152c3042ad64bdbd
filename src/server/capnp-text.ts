// Cap'n Proto's text format, as far as workerd's configuration needs it. Pure.

/** A text literal. JSON's escapes for control characters (`\u001f`) are not Cap'n Proto's: hex is. */
export function capnpText(text: string): string {
  const escaped = text.replace(/[\\"]/g, "\\$&").replace(/\p{Cc}/gu, (character) => {
    return [...new TextEncoder().encode(character)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  });
  return `"${escaped}"`;
}
