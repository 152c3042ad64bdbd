// Every bound of the configuration store, with its unit and reason. Relations between them are asserted at load.

const KIB = 1024;
const MIB = 1024 * KIB;

/** DESIGN 7. Bytes. */
export const MAX_KEY_BYTES = KIB;
/** DESIGN 7. Bytes. */
export const MAX_VALUE_BYTES = MIB;
/** DESIGN 7. Operations of a transaction, those of both branches and of inner transactions counted. etcd's default too. */
export const MAX_TXN_OPERATIONS = 128;
/** DESIGN 7. Bytes of keys and values of a transaction. */
export const MAX_TXN_BYTES = 8 * MIB;
/** An answer is one message between objects, which holds 32 MiB at most. Bytes of keys and values of one range. */
export const MAX_RANGE_BYTES = 16 * MIB;
/** Keys that one revision may delete: it is one turn, which nothing else shares. */
export const MAX_DELETED_KEYS = 100_000;
/** Rows that a sort other than by key may hold in memory. */
export const MAX_SORTED_ROWS = 100_000;
/** Leases: each is held in memory. */
export const MAX_LEASES = 200_000;
/** Keys of one lease: its end deletes all of them in one revision. */
export const MAX_LEASE_KEYS = MAX_DELETED_KEYS;
/** Callers that stand in line for locks and elections of one keyspace. */
export const MAX_LOCK_WAITS = 10_000;
/** Longest wait for a lock: below what proxies let a request stay silent. Ms. */
export const MAX_LOCK_WAIT_MS = 300_000;
/** What a zone's sessions may have waiting for one keyspace: calls, and bytes. More is refused as overloaded. */
export const MAX_RELAY_CALLS = 16_384;
export const MAX_RELAY_BYTES = 128 * MIB;
/** A frame to the owner; a message between objects holds 32 MiB. Bytes. */
export const MAX_RELAY_FRAME_BYTES = 8 * MIB;
/** Frames under way to one keyspace: while one is committed the next is read. */
export const MAX_RELAY_FRAMES = 2;
/** etcd's bound. Seconds. */
export const MAX_LEASE_TTL_SECONDS = 9_000_000_000;
/** Write ids whose answers are held, and the bytes of those answers. Older ones are forgotten first. */
export const MAX_KEPT_ANSWERS = 200_000;
export const MAX_KEPT_ANSWER_BYTES = 64 * MIB;
/** How long an answer is held at most. A retry comes within seconds. Ms. */
export const KEPT_ANSWER_MS = 15 * 60_000;
/** A longer answer is not kept for repetitions: they are told that the write was applied. Bytes. */
export const MAX_KEPT_ANSWER = 64 * KIB;
/** Records a compaction removes in one slice: some milliseconds. */
export const COMPACTION_SLICE_RECORDS = 500;
/** Digits of the suffix of a sequential key: enough for every revision. */
export const SEQUENCE_DIGITS = 16;
/** Largest revision: a safe integer. */
export const MAX_REVISION = Number.MAX_SAFE_INTEGER - 1;

if (MAX_VALUE_BYTES + MAX_KEY_BYTES > MAX_TXN_BYTES) throw new Error("a transaction must hold one greatest put");
if (MAX_RELAY_FRAME_BYTES < MAX_TXN_BYTES) throw new Error("a frame must hold one greatest transaction");
if (MAX_TXN_BYTES * 2 > MAX_RANGE_BYTES) throw new Error("a transaction's previous values must fit into its answer");
if (String(MAX_REVISION).length > SEQUENCE_DIGITS) throw new Error("a suffix must hold every revision");
