// Finds the exact text of a member or an item inside a JSON text, so that values come back byte-identical (2^53+1, 1.0, key order).
// Needs: text that JSON.parse accepted, and member names without escapes. Must not: be used on unchecked input.

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** `start` is at the opening quote; gives the offset behind the closing one. */
function skipString(text: string, start: number): number {
  let at = start + 1;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) throw new SyntaxError("a string does not end");
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === 92) backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** `start` is at `{` or `[`; gives the offset behind its end. */
function skipNested(text: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < text.length) {
    const character = text[at];
    if (character === '"') {
      at = skipString(text, at);
      continue;
    }
    if (character === "{" || character === "[") depth++;
    if (character === "}" || character === "]") depth--;
    at++;
    if (depth === 0) return at;
  }
  throw new SyntaxError("an object or array does not end");
}

function skipValue(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return skipString(text, start);
  if (first === "{" || first === "[") return skipNested(text, start);
  let at = start;
  while (at < text.length && !",]}".includes(text[at]!) && !isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** The text of member `name` of the object in `text`, or undefined. */
export function memberText(text: string, name: string): string | undefined {
  let at = skipSpace(text, 0);
  if (text[at] !== "{") return undefined;
  at = skipSpace(text, at + 1);
  while (at < text.length && text[at] !== "}") {
    const nameEnd = skipString(text, at);
    const isWanted = text.slice(at + 1, nameEnd - 1) === name;
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = skipValue(text, start);
    if (isWanted) return text.slice(start, end);
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return undefined;
}

/** The texts of the items of the array in `text`. */
export function itemTexts(text: string): string[] {
  const items: string[] = [];
  let at = skipSpace(text, 0);
  if (text[at] !== "[") return items;
  at = skipSpace(text, at + 1);
  while (at < text.length && text[at] !== "]") {
    const end = skipValue(text, at);
    items.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return items;
}
