// Vectors of recent texts: the same question asked again costs nothing.
// Guarantees: holds a bounded number of bytes, those used last. Must not: answer for another model.
import type { Embedding } from "./word-encoder.ts";

const ENTRY_OVERHEAD_BYTES = 200;

export class TextCache {
  readonly #limitBytes: number;
  readonly #maxCharacters: number;
  readonly #held = new Map<string, Embedding>();
  #bytes = 0;

  constructor({ limitBytes, maxCharacters }: { readonly limitBytes: number; readonly maxCharacters: number }) {
    this.#limitBytes = limitBytes;
    this.#maxCharacters = maxCharacters;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(model: string, text: string): Embedding | undefined {
    const key = `${model}\n${text}`;
    const found = this.#held.get(key);
    if (!found) return undefined;
    // What was used last stands last.
    this.#held.delete(key);
    this.#held.set(key, found);
    return found;
  }

  set(model: string, text: string, embedding: Embedding): void {
    if (text.length > this.#maxCharacters) return;
    const key = `${model}\n${text}`;
    const old = this.#held.get(key);
    if (old) this.#drop(key, old);
    this.#held.set(key, embedding);
    this.#bytes += sizeOf(key, embedding);
    for (const [oldest, held] of this.#held) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#drop(oldest, held);
    }
  }

  #drop(key: string, embedding: Embedding): void {
    this.#held.delete(key);
    this.#bytes -= sizeOf(key, embedding);
  }
}

function sizeOf(key: string, { values }: Embedding): number {
  return key.length * 2 + values.byteLength + ENTRY_OVERHEAD_BYTES;
}
