// Every bound of the key-value domain, with its unit and reason. Relations between them are asserted at load.

/** DESIGN 7. UTF-8 bytes. */
export const MAX_KEY_BYTES = 1024;
/** DESIGN 7. Bytes of the JSON text. */
export const MAX_VALUE_BYTES = 1024 * 1024;
/** DESIGN 4: more concurrent versions than this mean a client that never merges; it is told so. */
export const MAX_SIBLINGS = 32;
/** DESIGN 4: bytes of one key's whole state, so that shipping it stays one bounded message. */
export const MAX_STATE_BYTES = 4 * 1024 * 1024;
/** A client's clock may run ahead of a node's known counter by this much: in-flight writes seen through another coordinator. */
export const MAX_COUNTER_LEAD = 2 ** 20;
/** Counters a node reserves durably at once: a crash skips at most this many, one small write per that many stamps. */
export const COUNTER_BLOCK = 2 ** 16;
/** Largest counter that a client's clock may name, so that forged ones cannot exhaust the number space. */
export const MAX_CLIENT_COUNTER = 2 ** 48;
/** A client's clock may carry a hybrid time this far ahead of ours: clock differences between zones, not forgeries. Ms. */
export const MAX_TIME_LEAD_MS = 60 * 60 * 1000;
/** Superseded writes whose spread to a majority is not known yet, carried with a key's state. The coordinator settles them long before. */
export const MAX_UNSETTLED = 64;
/** From this many unsettled entries on, the coordinator tells every replica at once that a write is settled. */
export const SETTLE_ALL_FROM = 8;
/** Own settled counters a replica remembers; a forgotten one costs one more unsettled entry, nothing else. */
export const MAX_SETTLED_REMEMBERED = 65_536;

if (MAX_STATE_BYTES < MAX_VALUE_BYTES) throw new Error("a state must hold at least one value of the greatest size");
if (SETTLE_ALL_FROM >= MAX_UNSETTLED) throw new Error("settling must begin before the unsettled list is full");
