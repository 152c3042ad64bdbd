// Words of a text, for `$text`: runs of letters, digits and marks, without case, compatibility forms made equal.
import { MAX_WORD_CHARACTERS } from "./limits.ts";

const WORD = /[\p{L}\p{N}\p{M}]+/gu;

/** Every word once, in order of appearance. */
export function wordsOf(text: string): readonly string[] {
  const words = new Set<string>();
  for (const [word] of text.normalize("NFKC").toLowerCase().matchAll(WORD))
    words.add(word.slice(0, MAX_WORD_CHARACTERS));
  return [...words];
}
