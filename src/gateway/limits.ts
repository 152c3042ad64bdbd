// Every bound of the gateway, with its unit and reason. What an operator may change is in cluster/settings.ts instead.

/** A put's body beside the value: a key in escapes (6 KiB), a clock of 1024 entries, white space. Bytes. */
export const BODY_OVERHEAD_BYTES = 256 * 1024;
/** A body of etcd's API: a transaction's 8 MiB in base64, and its names. Bytes. */
export const MAX_ETCD_BODY_BYTES = 12 * 1024 * 1024;
/** Requests in one body of a stream of etcd's API, where each is answered in turn. */
export const MAX_ETCD_STREAM_REQUESTS = 1000;
/** A message on a WebSocket of etcd's calls: workerd takes 32 MiB at most. Bytes. */
export const MAX_FRAME_BYTES = 32 * 1024 * 1024 - 1;
/** Frames under way on one such WebSocket. */
export const MAX_FRAMES_IN_FLIGHT = 1000;
/** Keyspaces whose cluster and member ids are held. */
export const MAX_ETCD_IDENTITIES = 10_000;
/** Bodies of administration routes. Bytes. */
export const MAX_ADMIN_BODY_BYTES = 64 * 1024;
/** Echoed in an error. Characters. */
export const MAX_ECHO_CHARACTERS = 100;
/** Problems listed in one answer. */
export const MAX_ISSUES = 20;
/** The Coordinator's own budget is 8 s (replication/limits.ts); this only bounds a Coordinator that is gone. Ms. */
export const COORDINATOR_DEADLINE_MS = 10_000;
/** A request to a keyspace whose answer may be longer has an RPC of its own: many of them would not fit into one message. Bytes. */
export const MAX_GATHERED_ANSWER_BYTES = 2 * 1024 * 1024;
/** A call to Directory or Tenant on behalf of a client. Ms. */
export const ADMIN_DEADLINE_MS = 10_000;
/** One question for a tenant's view; then the old view is used. Ms. */
export const VIEW_DEADLINE_MS = 2000;
/** A request waits so long for a view at least, however long another question is under way. Ms. */
export const VIEW_LEAST_WAIT_MS = 500;
/** From this age on a view is asked for again behind a request, by a question that waits for a change (VIEW_WAIT_MS). Ms. */
export const VIEW_REFRESH_MS = 300;
/** Between the beginnings of two questions of which the first failed, and how long the failure tells that the owner is away. Ms. */
export const VIEW_RETRY_MS = 1000;
/** Each part that readiness asks. Ms. */
export const READY_DEADLINE_MS = 2000;
/** Readiness, status and metrics are computed at most this often, so that asking cannot load the system. Ms. */
export const PROBE_CACHE_MS = 1000;
/** A gateway isolate hands its counters over this often while there are requests; far below the promised 30 s. Ms. */
export const METRICS_REPORT_MS = 2000;
/** Request log lines wait at most this long to be written together. Ms. */
export const LOG_FLUSH_MS = 200;
/** Lines written at once. */
export const MAX_LOG_LINES = 64;
export const MAX_IDEMPOTENCY_KEY_CHARACTERS = 255;
/** Tenants described at once for a list. */
export const DESCRIBE_AT_ONCE = 50;
/** Bytes of randomness fetched at once: 256 write ids. */
export const RANDOM_POOL_BYTES = 4096;
/** An issuer's answer with its keys. Ms, bytes, keys. */
export const KEYS_FETCH_TIMEOUT_MS = 3000;
export const MAX_KEYS_BYTES = 128 * 1024;
export const MAX_ISSUER_KEYS = 100;
/** An issuer is asked at most this often, whatever tokens name as key id and however it fails. Ms. */
export const KEYS_FETCH_COOLDOWN_MS = 10_000;
/** Longer than any answer takes and any body within reason: a request that is older ended without a word. Ms. */
export const REQUEST_LOST_AFTER_MS = 60_000;
/** Keys of one page of a configuration range; its bytes are bounded by config/limits.ts as well. */
export const MAX_RANGE_LIMIT = 100_000;
/** Bytes of the name of a lock or an election: its keys end in `/` and up to 16 digits. */
export const MAX_LOCK_NAME_BYTES = 1000;
/** Longest wait for a lock over HTTP: less than REQUEST_LOST_AFTER_MS. Seconds. */
export const MAX_HTTP_WAIT_SECONDS = 50;
/** Transactions in transactions. etcd's clients nest one or two deep. */
export const MAX_TXN_DEPTH = 8;
/** A put's body: a value and the one it is compared with, each as base64 or with some escapes, and the fields. Bytes. */
export const MAX_CONFIG_PUT_BYTES = 4 * 1024 * 1024;
/** A transaction's body: 8 MiB of keys and values as base64, and the fields. Bytes. */
export const MAX_CONFIG_TXN_BYTES = 12 * 1024 * 1024;
/** A page of a configuration export or import: its text. A message and a transaction hold as much. Bytes. */
export const MAX_CONFIG_PAGE_BYTES = 8 * 1024 * 1024;
/** Keys and values of one page of a configuration export, unless one alone is larger: each is held several times over on its way. Bytes. */
export const EXPORT_PAGE_BYTES = 1024 * 1024;
/** Keys of one page of a configuration export. */
export const MAX_CONFIG_EXPORT_KEYS = 1000;
/** Lines of one page of a configuration import: some hundred transactions, far below REQUEST_LOST_AFTER_MS. */
export const MAX_CONFIG_IMPORT_LINES = 10_000;
/** A transaction of an import ends with the line that passes this: it is a turn that others wait for. Bytes of keys and values. */
export const IMPORT_TXN_BYTES = 1024 * 1024;
/** Keys of one transaction of an import: its answer names them and has to be short enough to be kept for repetitions. Bytes. */
export const IMPORT_TXN_KEY_BYTES = 32 * 1024;
/** A lease may end between the look at it and the write: then another look. */
export const IMPORT_LEASE_TRIES = 3;
/** After a restore the keyspace starts anew: how often, and how long apart, it is asked whether it has it. Ms. */
export const RESTORED_ASKS = 50;
export const RESTORED_ASK_MS = 100;

/** A shard's answer: a search of a cold shard loads its indexes first. Ms. */
export const SHARD_DEADLINE_MS = 20_000;
/** A gateway isolate may be so late to know of copies that were added or removed: one that is gone leaves reads to the leader. Ms. */
export const COPIES_KNOWN_MS = 5000;
/** Creating, changing and deleting a database asks its shards 16 at a time, each for at most 5 s. Ms. */
export const DATABASE_DEADLINE_MS = 25_000;
/** Databases whose shape a gateway isolate remembers; one more costs a call to the tenant's object. */
export const MAX_KNOWN_DATABASES = 10_000;
/** The body of a write of vectors, and what it comes to in float32 (DESIGN 7). Bytes. */
export const MAX_VECTOR_BODY_BYTES = 32 * 1024 * 1024;
/** A body with one vector of 4096 numbers of 30 characters and its metadata in escapes, or with an image in base64 instead of numbers. Bytes. */
export const MAX_ONE_VECTOR_BODY_BYTES = 8 * 1024 * 1024;
/** Vectors of one batch: a shard keeps an answer for each until its write id is forgotten. */
export const MAX_BATCH_VECTORS = 10_000;
/** One call to a shard is a turn that searches wait for, some milliseconds: a larger batch is several. Bytes, and rows. */
export const SHARD_CALL_BYTES = 256 * 1024;
export const SHARD_CALL_ROWS = 256;
/** A part of an import is put on disk at once. Bytes. */
export const IMPORT_PART_BYTES = 8 * 1024 * 1024;
/** A message between objects holds 32 MiB; an atomic batch is one. Bytes. */
export const MAX_SHARD_CALL_BYTES = 31 * 1024 * 1024;
/** Rows that one call deletes by filter at a shard, and calls of one request: 1 000 000 rows. */
export const DELETE_ROWS = 10_000;
export const MAX_DELETE_CALLS = 100;
/** A body with a search of several vectors, or of an image in base64, and a filter. Bytes. */
export const MAX_SEARCH_BODY_BYTES = 8 * 1024 * 1024;
/** Queries of one batch search. */
export const MAX_BATCH_QUERIES = 100;
/** Rows that a search may look at for each unit that is charged to the tenant's rate; the request itself pays for the first. */
export const ROWS_PER_UNIT = 10_000;
/** How long a gateway takes a database for one whose vectors are not all where they belong yet, and asks all of its shards. Ms. */
export const SHARD_MAP_FRESH_MS = 1000;
/** A restore that a shard cannot take at once is tried again so often, so far apart. Ms. */
export const RESTORE_RETRIES = 100;
export const RESTORE_RETRY_MS = 200;
/** How long texts may wait for their model; one that is large has to be read first. Ms. */
export const EMBED_BUDGET_MS = 10_000;
/** An embedder that has not answered by then is away. Ms. */
export const EMBED_DEADLINE_MS = 15_000;
/** Reading and checking a model of the largest size. Ms. */
export const ACTIVATE_DEADLINE_MS = 50_000;
/** A body with MAX_CALL_TEXTS texts of some length, or an image in base64. Bytes. */
export const MAX_EMBED_BODY_BYTES = 8 * 1024 * 1024;
