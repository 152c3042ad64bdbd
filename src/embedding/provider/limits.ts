// Bounds of remote providers, with their reasons.

/** How the operator's secrets are named: bindings of the embedder. */
export const SECRET_NAME = /^[A-Z][A-Z0-9_]{0,63}$/;
/** One try, unless the model's record says otherwise. Ms. */
export const DEFAULT_PROVIDER_TIMEOUT_MS = 5000;
/** All tries of a batch of the queue: the gateway waits for the embedder for 15 s. Ms. */
export const PROVIDER_BUDGET_MS = 12_000;
export const PROVIDER_TRIES = 3;
/** Before the second try, doubled before the third, and half as much or half more by chance. Ms. */
export const PROVIDER_PAUSE_MS = 200;
/** Texts of one call, unless the model's record says otherwise: no more run together in the queue. */
export const DEFAULT_PROVIDER_BATCH = 32;
/** What is read of an answer: 32 vectors of 4096 numbers of 25 characters come to half of it. Bytes. */
export const MAX_PROVIDER_ANSWER_BYTES = 8 * 1024 * 1024;
/** After failures in a row a provider is left alone for so long. Ms. */
export const PROVIDER_OPEN_MS = 10_000;
