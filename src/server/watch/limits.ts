// Every bound of the watch front, with its unit and reason.
import { WATCH_BOUNDS, type WatchBounds } from "../../config/watch-budget.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** One message of a client: some ten thousand watches. Bytes. */
export const MAX_CLIENT_MESSAGE_BYTES = MIB;
/** One message of the server: a revision's events, in fragments or not (src/config/limits.ts). Bytes. */
export const MAX_SERVER_MESSAGE_BYTES = 64 * MIB;
/** Pairs of token and namespace that one front process follows; each costs it up to a tail of changes, and the server a connection. */
export const MAX_MIRRORS = 500;
/** Clients that wait for their token to be judged. */
export const MAX_OPENING_CLIENTS = 20_000;
/** Revisions of the past that a mirror asks for at its beginning, for clients that come back. */
export const MIRROR_BACKLOG_REVISIONS = 1000;
/** A mirror whose last client left is given up after this. Ms. */
export const MIRROR_LINGER_MS = 5000;
/** Changes held in memory for clients that come back, of each mirror: less than an owner holds, as there may be many. Bytes. */
const MIRROR_TAIL_BYTES = 8 * MIB;
export const MIRROR_BOUNDS: WatchBounds = { ...WATCH_BOUNDS, tailBytes: MIRROR_TAIL_BYTES };
/** Until a connection to the server behind must be open. Ms. */
export const FEED_OPEN_MS = 10_000;
/** Pauses before a lost one is opened anew. Ms. */
export const FEED_RETRY_MS: readonly number[] = [20, 100, 300, 1000, 2000];
/** How long a client may take to answer a close, and to send its request. Ms. */
export const CLOSING_MS = 3000;
export const REQUEST_MS = 10_000;
/** TCP asks silent clients after this whether they are there. Ms. */
export const KEEP_ALIVE_MS = 60_000;
/** Descriptors that are not for clients: upstream connections, files. */
export const RESERVED_DESCRIPTORS = MAX_MIRRORS + 200;
/** Connections that wait to be accepted: a crowd comes back at once. */
export const ACCEPT_BACKLOG = 4096;
/** Pause before a front process that died is started anew. Ms. */
export const FRONT_RESTART_MS = 200;
/** Longest wait for a front process to listen. Ms. */
export const FRONT_START_MS = 20_000;
/** Front processes. */
export const MAX_FRONTS = 64;
