// Every bound of replication, with its unit and reason.

/** Failures in a row after which a replica is not asked for a while. */
export const BREAKER_FAILURES = 3;
/** How long it is not asked. Ms. */
export const BREAKER_OPEN_MS = 1000;
/**
 * A replica that has not answered for so many times as long as its slowest answers of late took is late: another one is asked instead. With
 * a bound below, so that a short stall of a disk or a machine is none.
 */
export const LATE_FACTOR = 4;
export const LEAST_PATIENCE_MS = 300;
/** How much of the slowest answer is remembered after a quicker one. */
export const SLOWEST_KEPT = 0.8;
/**
 * A retry's stamp without a context supersedes only versions older than this; younger ones become its siblings. Ms. Whatever was
 * written after the write's first attempt may have superseded it there, and two writes that supersede each other leave nothing:
 * so this is more than clocks differ by plus the time in which a client retries.
 */
export const RESTAMP_SUPERSEDES_OLDER_MS = 60 * 60 * 1000;
/** A stamp's deadline further ahead of its replica's time than this is refused as passed. Ms: the longest replica timeout, and a second. */
export const MAX_DEADLINE_LEAD_MS = 61_000;
/**
 * How long after a write came its first attempt may still be stamped, in replica timeouts: one, and half of one in a link's queue. A retry
 * that cannot ask all replicas waits so long before it stamps the write anew (spec RP-140).
 */
export const FIRST_STAMP_TIMEOUTS = 1.5;
/** First attempts that a replica has promised to refuse, twice at most; 120 bytes each. A retry beyond is refused. */
export const MAX_PROMISES = 50_000;
/**
 * A state that comes later than this after its frame's deadline is refused. Ms. Until then it is still worth having, though nobody waits
 * for it, and a replica's clock may jump by as much without a write failing for it. It must be dead before a delete may be purged.
 */
export const MAX_STATE_LATE_MS = 60 * 60 * 1000;
/** How long a frame that no coordinator sends (hints, comparisons) may be under way, by the last answer's clock. Ms. */
export const PEER_FRAME_LIFE_MS = 30_000;
/** After a full repair: until every state that was under way before its end is dead (refused), with a reserve. Ms. */
export const PURGE_SETTLE_MS = 70 * 60 * 1000;
/** Least distance of two remembered stamp floors, as a part of the grace period: bounds how many are remembered. */
export const FLOORS_PER_GRACE = 8;
/**
 * Below it a replica's time for deadlines begins, at random in each of its lives. Ms: so large that two lives are never within
 * {@link MAX_DEADLINE_LEAD_MS} of each other (once in 10^9), and small enough for a whole number with a clock on top.
 */
export const MAX_TIME_ORIGIN_MS = 2 ** 47;
/** How far a replica's time for deadlines jumps when its clock has stepped back. Ms: more than any deadline is ahead. */
export const CLOCK_STEP_JUMP_MS = 10 * 60 * 1000;
/** Sets of four places for the heads of keys that are overwritten: 8 MiB for 65 536 of them. A power of two, at most 2^24. */
export const HEAD_SETS = 16 * 1024;
/** Sets whose memory is taken at once, when one of them is first used: 16 KiB. Divides HEAD_SETS. */
export const HEAD_PAGE_SETS = 32;
/** A key and the head of its state; longer ones have no place. Bytes. */
export const HEAD_SLOT_BYTES = 128;
/** Heads are kept of values up to this length; larger ones cost more than the block they are read with. Bytes. */
export const MAX_HEAD_VALUE_BYTES = 64 * 1024;
/** Bytes queued towards one replica before new requests are refused as overloaded. */
export const MAX_LINK_QUEUE_BYTES = 64 * 1024 * 1024;
/** Frames on their way to one replica at once: enough to hide the round trip, few enough to gather. */
export const MAX_FRAMES_IN_FLIGHT = 2;
/** A frame is cut here: an RPC message in workerd may hold 32 MiB. Bytes. */
export const MAX_FRAME_BYTES = 8 * 1024 * 1024;
/**
 * An answer frame that has grown to this takes no further states; the operations behind are deferred to another frame. Bytes: with
 * one more state of the greatest size it is still below the 32 MiB of an RPC message.
 */
export const MAX_ANSWER_BYTES = 12 * 1024 * 1024;
/**
 * Requests a coordinator works on at once before it answers `overloaded`: about a second of work. More would only wait longer, and
 * work that its client has given up costs as much as any other.
 */
export const MAX_REQUESTS_IN_FLIGHT = 16_384;
/** Bytes of the values of these requests. */
export const MAX_REQUEST_BYTES_IN_FLIGHT = 128 * 1024 * 1024;
/** Hints kept for one target. Beyond either bound the range is marked dirty instead (repair will find it). */
export const MAX_HINT_BYTES_PER_TARGET = 64 * 1024 * 1024;
export const MAX_HINTS_PER_TARGET = 200_000;
/** DESIGN 4: hints live shorter than half the tombstone grace period. Seconds. */
export const DEFAULT_HINT_TTL_SECONDS = 3 * 3600;
/** Default tombstone grace period. Seconds. */
export const DEFAULT_TOMBSTONE_GRACE_SECONDS = 10 * 24 * 3600;
/** Bytes of hints sent to a target in one frame. */
export const HINT_DELIVERY_BYTES = 1024 * 1024;
/** Pause before hints are offered again to a target that did not take them. Ms, doubled up to the maximum. */
export const HINT_RETRY_MIN_MS = 500;
export const HINT_RETRY_MAX_MS = 30_000;
/** Rounds in which rows are brought to agreement: two when nobody writes meanwhile, as for a read. */
export const REPAIR_ROUNDS = 4;
/** Rows of one page that a replica compares by, and the bytes of states read for it: one slice of background work. */
export const SYNC_PAGE_ROWS = 512;
export const SYNC_PAGE_BYTES = 4 * 1024 * 1024;
/** Pages of a change of the ring that are one step: its ranges are many and small. */
export const SYNC_RING_PAGES = 32;
/**
 * The space of hashes in leaves of 2^18: 16 384 of them. A digest is kept for each that was read, and read again after a write into it; of a
 * million rows one has 61. (docs/adr/0080)
 */
export const DIGEST_LEAF_BITS = 18;
/** Digests kept by a replica, of (leaf, tenant), and one for each stretch: some 120 bytes each. */
export const MAX_KEPT_DIGESTS = 131_072;
/** Stretches of one leaf whose digests are kept: ranges of the ring may end within it. */
export const MAX_KEPT_OF_LEAF = 4;
/** Digests of one answer, after which no further part is answered: 20 bytes each. */
export const MAX_ANSWERED_DIGESTS = 65_536;
/** Rows that a replica reads for one answer of digests, but for the last leaf, and their bytes: some 20 ms of work. */
export const SYNC_DIGEST_ROWS = 4096;
export const SYNC_DIGEST_BYTES = 16 * 1024 * 1024;
/** Ranges of the ring whose digests are asked for at once. */
export const SYNC_DIGEST_PARTS = 256;
/** Into so many parts a range is cut that differs. A power of two. */
export const DIGEST_FANOUT = 16;
/** Rows of a range that differs, which are compared one by one: less than cutting it again would cost. */
export const DIGEST_ROWS_COMPARED = 64;
/** Ranges that are filled whose pages are asked for at once, while these hold few rows. */
export const SYNC_RANGES_AT_ONCE = 8;
/**
 * Rows of these pages brought to agreement at once: a frame to each replica and back, and some 5 ms of work there. Their states are in
 * memory together, SYNC_PAGE_BYTES and one of 4 MiB a page at most.
 */
export const SYNC_REPAIR_ROWS = 256;
/** Records of one page, and the parts that the space of ids is read in: a part's records are sorted in memory. */
export const SYNC_PAGE_RECORDS = 2048;
export const SYNC_RECORD_WINDOWS = 64;
/** Failures in a row after which a filling is begun anew, with the sources that answer then. */
export const SYNC_FAILURES_TO_RESTART = 5;
/** Tenants whose route a comparison remembers. */
export const SYNC_ROUTES = 10_000;
/** Tenants whose route a coordinator remembers after a replica told it of a newer one; callers carry theirs themselves. */
export const MAX_KNOWN_ROUTES = 10_000;
/** How often a coordinator asks for a route that a replica already knows, and the first pause between. Ms, doubled each time. */
export const ROUTE_RELOADS = 7;
export const ROUTE_RETRY_MS = 10;
/** How often the nodes are asked how far a change of replicas is, and the pause after a step that did not get on. Ms. */
export const ROUTE_CHANGE_POLL_MS = 250;
export const ROUTE_CHANGE_RETRY_MS = 1000;
/**
 * How long a node may take to record a route, and how long a store that is new waits before its rebuild asks for routes: longer, so
 * that an answer its lost disk gave is not counted any more by then. Ms.
 */
export const RECORD_ROUTE_TIMEOUT_MS = 2000;
export const REBUILD_PAUSE_MS = 3000;
/** How often one request may find its route outdated before it is answered that it could not be done. */
export const MAX_REROUTES = 4;

if (CLOCK_STEP_JUMP_MS <= MAX_DEADLINE_LEAD_MS) throw new Error("a step back must pass every deadline given before");
if (PURGE_SETTLE_MS <= MAX_DEADLINE_LEAD_MS + MAX_STATE_LATE_MS)
  throw new Error("what is under way must be dead before a purge");
if (PEER_FRAME_LIFE_MS >= MAX_DEADLINE_LEAD_MS) throw new Error("a peer's deadline must be one of now");
if (REBUILD_PAUSE_MS <= RECORD_ROUTE_TIMEOUT_MS) throw new Error("a rebuild must outlast the recording of a route");
if (DEFAULT_HINT_TTL_SECONDS >= DEFAULT_TOMBSTONE_GRACE_SECONDS / 2) {
  throw new Error("hints must expire before half the tombstone grace period");
}
