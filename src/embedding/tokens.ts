// A text as the words that files of word vectors have.
// Guarantees: the same text gives the same words; every character belongs to at most one. Must not: know which words have vectors.

/** Letters with their marks and inner apostrophes, or a number. Han, Hiragana, Katakana and Thai write no spaces: there a character is a word. */
const UNSPACED = String.raw`\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}`;
const LETTER = String.raw`[[\p{L}\p{M}]--[${UNSPACED}]]`;
const WORD = new RegExp(String.raw`[${UNSPACED}]\p{M}*|${LETTER}+(?:['’]${LETTER}+)*|\p{N}+(?:[.,]\p{N}+)*`, "gv");

export function* tokensOf(text: string): Generator<string> {
  for (const [match] of text.normalize("NFC").matchAll(WORD)) yield match.replaceAll("’", "'");
}

/** The forms in which a word may be held: as it stands, in lower case, without what hangs on it by an apostrophe. */
export function formsOf(token: string): readonly string[] {
  const lower = token.toLowerCase();
  const forms = lower === token ? [token] : [token, lower];
  const apostrophe = lower.indexOf("'");
  return apostrophe > 0 ? [...forms, lower.replaceAll("'", ""), lower.slice(0, apostrophe)] : forms;
}
