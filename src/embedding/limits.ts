// Bounds of embedding, with their reasons.

/** Numbers of a vector: what a database takes (vector/index/limits.ts). */
export const MAX_OUTPUT_DIMENSION = 4096;
/** One text. Bytes of UTF-8: some 10 000 words, far beyond what one vector can stand for. */
export const MAX_TEXT_BYTES = 64 * 1024;
/** Texts of one call to the embedder: their vectors of 4096 numbers are 8 MiB. */
export const MAX_CALL_TEXTS = 512;
/** Tokens of one text, unless its model says fewer. */
export const DEFAULT_MAX_TOKENS = 8192;
/** The words of a file: each costs some 100 bytes of memory beside its numbers. */
export const MAX_WORDS = 2_000_000;
/** Bytes of one word. fastText's own bound is its buffer of 1 KiB. */
export const MAX_WORD_BYTES = 1024;
/** Words of a document of which IDF speaks: files of word vectors hold frequencies of words, none of documents. */
export const IDF_DOCUMENT_WORDS = 25;
/** Characters of a word that its subwords are made of: a longer one is cut, so that one token costs a bounded time. */
export const MAX_SUBWORD_CHARACTERS = 128;
