// Long texts in windows: a transformer sees so many tokens at once.
// Guarantees: every token is in exactly one window; windows of a text differ in length by at most one.

/** What the tokenizer puts around a text. */
export interface Frame {
  readonly before: readonly number[];
  readonly behind: readonly number[];
}

/** From one text's ids with and without what is put around them. */
export function frameOf(plain: readonly number[], full: readonly number[]): Frame {
  for (let at = 0; at + plain.length <= full.length; at++) {
    if (plain.every((id, n) => full[at + n] === id))
      return { before: full.slice(0, at), behind: full.slice(at + plain.length) };
  }
  return { before: [], behind: [] };
}

export interface Window {
  /** With the frame. */
  readonly ids: readonly number[];
  /** Tokens of the text in it: what it weighs. */
  readonly tokens: number;
}

export function windowsOf(ids: readonly number[], { before, behind }: Frame, most: number): readonly Window[] {
  const room = Math.max(1, most - before.length - behind.length);
  const count = Math.ceil(ids.length / room);
  return Array.from({ length: count }, (_, n) => {
    const part = ids.slice(Math.floor((n * ids.length) / count), Math.floor(((n + 1) * ids.length) / count));
    return { ids: [...before, ...part, ...behind], tokens: part.length };
  });
}
