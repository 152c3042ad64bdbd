// Every bound of the gRPC front, with its unit and reason.

const MIB = 1024 * 1024;

/** One message: a transaction's 8 MiB and its names. Bytes. */
export const MAX_MESSAGE_BYTES = 12 * MIB;
/** Calls under way on one HTTP/2 connection. */
export const MAX_STREAMS = 10_000;
/** HTTP/2's flow control: what a client may send before it is told to go on, on a connection and on a call. Bytes. */
export const CONNECTION_WINDOW_BYTES = 16 * MIB;
export const STREAM_WINDOW_BYTES = 4 * MIB;
/** Node ends streams of a connection that holds more than this. MiB. */
export const MAX_SESSION_MEMORY_MIB = 256;
/** Requests of a watch call that wait for its connection to the server behind. */
export const MAX_WATCH_REQUESTS_WAITING = 10_000;
/** Calls under way to one keyspace by one token. */
export const MAX_CALLS_IN_FLIGHT = 20_000;
/** Bytes gathered into one message to the server behind, unless one call alone is larger. */
export const FRAME_BYTES = 4 * MIB;
/** Tokens with a connection to the server behind; each costs it some 60 KB. */
export const MAX_LINKS = 1000;
/** A link without calls is closed after this. Ms. */
export const LINK_IDLE_MS = 60_000;
/** Until a link must be open, or a request be answered by the server behind. Ms. */
export const LINK_OPEN_MS = 10_000;
export const ANSWER_MS = 15_000;
/** The same where a lock may be waited for: longer than it is waited for there. */
export const LOCK_ANSWER_MS = 310_000;
/** What is waited for calls under way when the front stops. Ms. */
export const STOP_MS = 2000;
