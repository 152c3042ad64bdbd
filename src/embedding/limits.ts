// Bounds of embedding, with their reasons.

/** Numbers of a vector: what a database takes (vector/index/limits.ts). */
export const MAX_OUTPUT_DIMENSION = 4096;
/** One text. Bytes of UTF-8: some 10 000 words, far beyond what one vector can stand for. */
export const MAX_TEXT_BYTES = 64 * 1024;
/** Texts of one call to the embedder: their vectors of 4096 numbers are 8 MiB. */
export const MAX_CALL_TEXTS = 512;
/** Texts, images and tensors of one call, about: what waits in an embedder is bounded by MAX_WAITING_BYTES. */
export const MAX_CALL_BYTES = 8 * 1024 * 1024;
/** Tokens of one text, unless its model says fewer. */
export const DEFAULT_MAX_TOKENS = 8192;
/** The words of a file: each costs some 100 bytes of memory beside its numbers. */
export const MAX_WORDS = 2_000_000;
/** Bytes of one word. fastText's own bound is its buffer of 1 KiB. */
export const MAX_WORD_BYTES = 1024;
/** Unknown words that a refusal names. */
export const MAX_NAMED_WORDS = 10;
/** Words of a document of which IDF speaks: files of word vectors hold frequencies of words, none of documents. */
export const IDF_DOCUMENT_WORDS = 25;
/** Characters of a word that its subwords are made of: a longer one is cut, so that one token costs a bounded time. */
export const MAX_SUBWORD_CHARACTERS = 128;
/** A part of a model's file as it is uploaded. Bytes. */
export const PART_BYTES = 4 * 1024 * 1024;
/** A piece of it as it is stored: what a bucket reads back without trouble. Bytes. */
export const PIECE_BYTES = 1024 * 1024;
/** All files of a model: they are in memory whole while it is loaded. Bytes. */
export const MAX_MODEL_BYTES = 256 * 1024 * 1024;
/** All models of a tenant. Bytes. */
export const MAX_TENANT_MODEL_BYTES = 1024 * 1024 * 1024;
export const MAX_MODELS_PER_TENANT = 100;
export const MAX_MODEL_FILES = 16;
/** Texts that run together: a batch of a transformer is long enough, and others are not kept waiting by one request. */
export const MAX_BATCH_TEXTS = 32;
/** Texts waiting in one embedder may be so long together. Bytes, about. */
export const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** Vectors of recent texts that an embedder holds. Bytes. */
export const TEXT_CACHE_BYTES = 8 * 1024 * 1024;
/** A longer text is not looked up: it is hardly asked for twice. Characters. */
export const MAX_CACHED_CHARACTERS = 2000;
/** Tokens that a transformer sees at once, unless its parameters say otherwise: what a window costs grows with the square. */
export const DEFAULT_WINDOW_TOKENS = 256;
/** Tokens that run through a transformer at once, padding included: bounds its memory. */
export const WINDOW_BATCH_TOKENS = 2048;
/** One image, compressed: as base64 it fits the body of a search. Bytes. */
export const MAX_IMAGE_BYTES = 5 * 1024 * 1024;
/** Its pixels: a photograph of 12 megapixels. Decoding takes 8 bytes of memory for each. */
export const MAX_IMAGE_PIXELS = 12_500_000;
export const MAX_IMAGE_SIDE = 16_384;
/** Scans of a progressive JPEG: encoders make some ten, and each goes over all pixels. */
export const MAX_JPEG_SCANS = 64;
/** Pixels of a side that a graph is given. */
export const MAX_INPUT_SIDE = 1024;
/** Numbers of all tensors of one input. */
export const MAX_TENSOR_VALUES = 1_000_000;
/** Inputs of a graph that a model may declare. */
export const MAX_TENSOR_INPUTS = 16;
