// Bounds of shipping a shard of vectors to its followers, with their reasons.
const MIB = 1024 * 1024;

/** Newest commits that a leader with followers holds in memory. */
export const SHIPPED_TAIL_BYTES = 8 * MIB;
/** A page of commits ends with the one that passes this. */
export const SHIPPED_PAGE_BYTES = MIB;
/** A page that would be larger is not sent (a message between objects holds 32 MiB): its follower copies segments, which a commit of that size fills. */
export const MAX_SHIPPED_BYTES = 30 * MIB;
/** Blobs asked for at once: one call moves so many bytes, or one blob. */
export const COPIED_BYTES_A_CALL = 4 * MIB;
/** Below this a page is sent as it is; compressing takes longer than it saves. */
export const COMPRESS_FROM_BYTES = 8 * 1024;
/** A page that does not shrink to this share is sent as it is, and so are the pages after it: float32 values rarely shrink. */
export const COMPRESS_SHARE = 0.8;
export const COMPRESS_PAUSE_PAGES = 32;
