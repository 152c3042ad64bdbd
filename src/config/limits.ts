// Every bound of the configuration store, with its unit and reason. Relations between them are asserted at load.

const KIB = 1024;
const MIB = 1024 * KIB;

/** DESIGN 7. Bytes. */
export const MAX_KEY_BYTES = KIB;
/** DESIGN 7. Bytes. */
export const MAX_VALUE_BYTES = MIB;
/** DESIGN 7. Operations of a transaction's longer branch, those of inner transactions counted. etcd's default too. */
export const MAX_TXN_OPERATIONS = 128;
/** DESIGN 7. Bytes of keys and values of a transaction. */
export const MAX_TXN_BYTES = 8 * MIB;
/** An answer is one message between objects, which holds 32 MiB at most. Bytes of keys and values of one range. */
export const MAX_RANGE_BYTES = 16 * MIB;
/** Bytes of keys and values of all that one request gives back: reads of a transaction, previous values. Under the message's 32 MiB. */
export const MAX_ANSWER_BYTES = 26 * MIB;
/** Bytes of the answers to all calls of one frame: a message between objects holds 32 MiB. */
export const MAX_FRAME_ANSWER_BYTES = 31 * MIB;
/** Keys that a transaction may read one by one before their bytes are counted: counting reads each twice. */
export const UNCOUNTED_READS = 4;
/** Keys of a range's two ends that are counted one by one, and twice as many: under a tenth of a millisecond. */
export const COUNTED_TOGETHER = 512;
/** Keys that came or went, remembered to count ranges at older revisions; and the bytes of them. */
export const MAX_BIRTHS = 65_536;
export const MAX_BIRTH_BYTES = 8 * MIB;
/** Keys that one revision may delete: it is one turn, which nothing else shares. */
export const MAX_DELETED_KEYS = 100_000;
/** Rows that a sort other than by key may hold in memory. */
export const MAX_SORTED_ROWS = 100_000;
/** Leases: each is held in memory. */
export const MAX_LEASES = 200_000;
/** Leases that one session owns; more are refused. */
export const MAX_OWNED_LEASES = 20_000;
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
/** Newest records that an owner holds in memory for its followers. Bytes. */
export const SHIPPED_TAIL_BYTES = 8 * MIB;
/** A page of records for a follower ends with the revision that passes this. Bytes. */
export const SHIPPED_PAGE_BYTES = MIB;
/** A page of a copy of the state ends with the version that passes this. Bytes. */
export const COPIED_PAGE_BYTES = MIB;
/** Snapshots that are read at once: each holds up compaction. */
export const MAX_SNAPSHOT_READS = 4;
/** A snapshot that nobody asks for pages this long is given up; a restore that gets none too. Ms. */
export const SNAPSHOT_IDLE_MS = 60_000;
/** Rows that a restore writes or sweeps in one turn. */
export const RESTORE_SLICE_ROWS = 1000;
/** etcd's bound. Seconds. */
export const MAX_LEASE_TTL_SECONDS = 9_000_000_000;
/** A new owner lets leases end so much later at most: with the slack of what is stored and a late alarm that is below 25 s. Ms. */
export const TAKEOVER_EXTENSION_MS = 24_000;
/** Stored times beside two for each lease, before they are written anew; and of one row, which is some 30 bytes each. */
export const SPARE_LEASE_TIMES = 5000;
export const LEASE_TIMES_PER_ROW = 20_000;
/** Write ids whose answers are held, and the bytes of those answers. Older ones are forgotten first. */
export const MAX_KEPT_ANSWERS = 200_000;
export const MAX_KEPT_ANSWER_BYTES = 64 * MIB;
/** How long an answer is held at most. A retry comes within seconds. Ms. */
export const KEPT_ANSWER_MS = 15 * 60_000;
/** A longer answer is not kept for repetitions: they are told that the write was applied. Bytes. */
export const MAX_KEPT_ANSWER = 64 * KIB;
/** Cached values lie together in so many bytes: what is given up at once. */
export const VALUE_SLAB_BYTES = 256 * KIB;
/** Records of a turn that wait for its end, to be written together. Bytes. */
export const GATHERED_LOG_BYTES = MIB;
/** Records a compaction removes in one slice: some milliseconds. */
export const COMPACTION_SLICE_RECORDS = 500;
/** Rows of the index that wait in memory to be written in one batch: some 10 ms of writing, and of reading the log at a start. */
export const PENDING_INDEX_ROWS = 2048;
/** How long they wait at most: a damaged record among them cannot be told from any key. Ms. */
export const PENDING_INDEX_MS = 1000;
/** As {@link PENDING_INDEX_ROWS}, of a follower, which knows no time. */
export const FOLLOWER_PENDING_ROWS = 256;
/** Rows of one run of the history: small enough to be forgotten at once, some hundred runs for a million revisions. */
export const HISTORY_RUN_ROWS = 16_384;
/** Digits of the suffix of a sequential key: enough for every revision. */
export const SEQUENCE_DIGITS = 16;
/** A new keyspace is at revision 1, which changed nothing: there is no record of it. */
export const FIRST_CHANGE = 2;
/** Largest revision: a safe integer. */
export const MAX_REVISION = Number.MAX_SAFE_INTEGER - 1;
/** Watches of one keyspace, each some 500 bytes; and connections that carry them. The spec asks for 100 000. */
export const MAX_WATCHES = 200_000;
/** Changes kept in memory for watches that resume. Bytes. */
export const CHANGE_TAIL_BYTES = 16 * MIB;
/** What one slice of catching up reads: some milliseconds. Bytes of records; one revision at least. */
export const WATCH_SLICE_BYTES = 256 * KIB;
/** What one slice takes from memory. Revisions. */
export const WATCH_SLICE_REVISIONS = 256;
/** A fragment of a revision's events. Bytes; one event at least. */
export const WATCH_FRAGMENT_BYTES = MIB;
/** A longer message cancels a watch that did not ask for fragments: a WebSocket message holds 32 MiB. Bytes. */
export const MAX_WATCH_MESSAGE_BYTES = 16 * MIB;
/** Previous values told with the events of one revision; the others are left out. Bytes. */
export const MAX_PREVIOUS_BYTES = 16 * MIB;
/** What one connection may leave unread before it has to catch up from the log. Bytes. */
export const WATCH_WINDOW_BYTES = 4 * MIB;
/** What all connections may leave unread. Bytes. */
export const MAX_UNREAD_WATCH_BYTES = 256 * MIB;
/** What a queued message costs beside its bytes, estimated. */
export const WATCH_FRAME_BYTES = 256;
/** A connection is asked what it has read after so many bytes; less often would leave more unknown than all may leave unread. */
export const MOST_UNMARKED_BYTES = 64 * KIB;
export const LEAST_UNMARKED_BYTES = 4 * KIB;
/** A connection that is full and reads nothing for this long is closed. Ms. */
export const WATCH_STALL_MS = 60_000;
/** Requests of one connection that wait for a copy to be as new as its owner. Bytes. */
export const MAX_WAITING_REQUEST_BYTES = 4 * MIB;
/** A copy that lacks revisions a watch asked for sends watch connections to the owner for this long. Ms. */
export const WATCH_ELSEWHERE_MS = 60_000;
/** Between progress notices of a quiet watch that asked for them. Ms. */
export const PROGRESS_EVERY_MS = 60_000;
/** Subscriptions of a tenant; each is an object of its own that is awake. */
export const MAX_WEBHOOKS_PER_TENANT = 100;
/** Events of one request, and keys with values in it unless a single event is larger. Bytes. */
export const MAX_WEBHOOK_BATCH_EVENTS = 1000;
export const MAX_WEBHOOK_BATCH_BYTES = 512 * KIB;
/** What one page looks through at most: slices of 256 KiB, some milliseconds each. */
export const WEBHOOK_FEED_SLICES = 8;
/** The newest dead letters of a subscription are kept, and of each so many of its events. */
export const MAX_DEAD_LETTERS = 1000;
export const MAX_DEAD_LETTER_EVENTS = 100;
/** Longest pause between attempts, and the longest that a receiver may ask for. Ms. */
export const MAX_WEBHOOK_BACKOFF_MS = 10 * 60_000;
export const MAX_RETRY_AFTER_MS = 3_600_000;
/** A target that failed this often in a row is left alone for so long, then one request tries. Ms. */
export const BREAKER_FAILURES = 5;
export const BREAKER_OPEN_MS = 30_000;
/** Targets whose failures are remembered at once. */
export const MAX_BREAKER_TARGETS = 1000;
/** What is read of a receiver's answer. Bytes. */
export const MAX_WEBHOOK_ANSWER_BYTES = 4 * KIB;
/** After a rotation requests carry the old secret's signature too for this long. Ms. */
export const OLD_SECRET_MS = 24 * 3_600_000;
/** Bounds of a secret: those of Standard Webhooks. Bytes. */
export const MIN_WEBHOOK_SECRET_BYTES = 24;
export const MAX_WEBHOOK_SECRET_BYTES = 64;
export const MAX_WEBHOOK_URL_CHARACTERS = 2048;

if (MAX_VALUE_BYTES + MAX_KEY_BYTES > MAX_TXN_BYTES) throw new Error("a transaction must hold one greatest put");
if (MAX_RELAY_FRAME_BYTES < MAX_TXN_BYTES) throw new Error("a frame must hold one greatest transaction");
if (MAX_TXN_BYTES * 2 > MAX_RANGE_BYTES) throw new Error("a transaction's previous values must fit into its answer");
if (MAX_RANGE_BYTES + MAX_TXN_BYTES > MAX_ANSWER_BYTES) throw new Error("a greatest transaction must be able to read");
if (MAX_ANSWER_BYTES + UNCOUNTED_READS * (MAX_VALUE_BYTES + MAX_KEY_BYTES) > MAX_FRAME_ANSWER_BYTES)
  throw new Error("an answer must be one message, with room for its numbers");
if (String(MAX_REVISION).length > SEQUENCE_DIGITS) throw new Error("a suffix must hold every revision");
if (MOST_UNMARKED_BYTES * 4 > WATCH_WINDOW_BYTES)
  throw new Error("a connection must be asked before its window is full");
if (2 * (MAX_VALUE_BYTES + MAX_KEY_BYTES) > WATCH_WINDOW_BYTES)
  throw new Error("a window must hold one greatest event");
