// Every bound of access control, with its unit and reason.

/** Names in URLs and key texts; also the length of a DNS label. */
export const TENANT_ID_PATTERN = /^[a-z0-9][a-z0-9_-]{0,62}$/;
export const KEY_ID_PATTERN = /^[0-9a-f]{16}$/;
/** Bytes of an API key's secret: 256 bits cannot be guessed, so a plain SHA-256 at rest is enough. */
export const SECRET_BYTES = 32;
/** A tenant's keys travel as one view to every gateway. Live and revoked ones. */
export const MAX_KEYS_PER_TENANT = 1000;
export const MAX_KEY_NAME_CHARACTERS = 100;
export const MAX_DISPLAY_NAME_CHARACTERS = 200;
/** Ten years: longer is "never" by mistake. Seconds. */
export const MAX_KEY_LIFETIME_SECONDS = 10 * 366 * 86_400;
/** A revoked or expired key is listed this long, then its row goes. Ms. */
export const DEAD_KEY_RETENTION_MS = 30 * 86_400_000;
/** DESIGN 7: lists. */
export const DEFAULT_PAGE_ITEMS = 100;
export const MAX_PAGE_ITEMS = 1000;
/** A gateway asks again for a tenant's view after this: the time within which a revocation holds everywhere. Ms. */
export const TENANT_VIEW_TTL_MS = 2000;
/** How long a Tenant holds the question for a view that has not changed: a change meanwhile is told at once. Below half of the time to live. Ms. */
export const VIEW_WAIT_MS = 700;
/** A view that did not change is kept anew on the zone's disk after this. Ms. */
export const KEEP_VIEW_EVERY_MS = 60_000;
/** Views that a zone keeps, some KB each; the oldest go first. */
export const MAX_KEPT_VIEWS = 10_000;
/** Authenticated keys a gateway isolate remembers. */
export const MAX_VERIFIED_KEYS = 10_000;
/** Tenant views a gateway isolate remembers. */
export const MAX_TENANT_VIEWS = 2000;
/** Refused tokens a gateway isolate remembers, for {@link TENANT_VIEW_TTL_MS}. */
export const MAX_REFUSED_TOKENS = 10_000;
/** Longest API key looked at. Characters. */
export const MAX_TOKEN_CHARACTERS = 512;
/** Longest signed token looked at: a dozen claims in RS512 have 2 KiB, and servers refuse headers over 16 KiB. Characters. */
export const MAX_SIGNED_TOKEN_CHARACTERS = 8192;
/** Verified signed tokens a gateway isolate remembers: at most 16 MiB of them, of the usual ones 2 MiB. */
export const MAX_VERIFIED_TOKENS = 2000;
/** Look-ups a second that unknown credentials may cause, per isolate: beyond it `rateLimited`, whoever asks. */
export const UNKNOWN_TOKENS_PER_SECOND = 200;
export const UNKNOWN_TOKENS_BURST = 1000;
export const DEFAULT_REPLICATION_FACTOR = 3;
/** Largest rate and burst that can be set: more than a deployment does. Requests (a second). */
export const MAX_REQUESTS_PER_SECOND = 1_000_000;
export const MAX_BURST = 10_000_000;
/** Leased requests are asked for this far ahead of need, by what was wanted lately. Ms. */
export const LEASE_AHEAD_MS = 250;
/** Leased requests not used by then go back: later they would come on top of the bucket's burst. Ms. */
export const LEASE_LIFETIME_MS = 1000;
/** A bucket that gave less than was asked for is not asked again before. Ms. */
export const LEASE_PAUSE_MS = 100;
/** One call for leases. Ms. */
export const LEASE_DEADLINE_MS = 500;
/** After a failed call the last share goes on for this long before the next one. Ms. */
export const LEASE_RETRY_MS = 1000;
/** A gateway that has not asked for this long has no demand any more. Ms. */
export const DEMAND_MEMORY_MS = 1000;
/** Gateways whose demand one bucket remembers; those beyond get what is left. */
export const MAX_LEASE_MEMBERS = 1000;
/** Buckets a gateway isolate or Coordinator holds leases of. */
export const MAX_RATE_POOLS = 10_000;

if (DEFAULT_PAGE_ITEMS > MAX_PAGE_ITEMS) throw new Error("the default page must fit the largest");
if (UNKNOWN_TOKENS_BURST < UNKNOWN_TOKENS_PER_SECOND) throw new Error("a burst must hold at least a second's rate");
if (LEASE_AHEAD_MS + LEASE_PAUSE_MS > 500)
  throw new Error("a burst of one second must outlast the way to the next lease");
/** Namespaces of the configuration store that a tenant may have; each is an object of its own. */
export const MAX_NAMESPACES_PER_TENANT = 1000;
