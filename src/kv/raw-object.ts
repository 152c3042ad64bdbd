// Splits the JSON text of an object into its members' raw texts, so that values survive a merge byte for byte (2^53+1, 1.0).
// The text is known to be valid JSON (the gateway and the SDK check it on the way in). Must not: parse the values.

/** Members in order of appearance: decoded name → raw text. Undefined when the text is not an object. */
export function rawMembers(text: string): Map<string, string> | undefined {
  let at = skipSpace(text, 0);
  if (text[at] !== "{") return undefined;
  const members = new Map<string, string>();
  at = skipSpace(text, at + 1);
  while (text[at] !== "}") {
    const nameEnd = endOfString(text, at);
    const name: string = JSON.parse(text.slice(at, nameEnd));
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = endOfValue(text, start);
    members.set(name, text.slice(start, end));
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
    else if (text[at] !== "}") return undefined;
  }
  return members;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === " " || text[at] === "\n" || text[at] === "\r" || text[at] === "\t") at++;
  return at;
}

/** `from` is at the opening quote; returns the index after the closing one. */
function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function endOfValue(text: string, from: number): number {
  const first = text[from];
  if (first === '"') return endOfString(text, from);
  let at = from;
  if (first !== "{" && first !== "[") {
    while (at < text.length && !",}] \n\r\t".includes(text[at]!)) at++;
    return at;
  }
  let depth = 0;
  do {
    const character = text[at]!;
    if (character === '"') {
      at = endOfString(text, at);
      continue;
    }
    if (character === "{" || character === "[") depth++;
    if (character === "}" || character === "]") depth--;
    at++;
  } while (depth > 0 && at < text.length);
  return at;
}
