// Every bound of the TLS front, with its unit and reason.

/** A client that has not finished its handshake by then holds a descriptor for nothing. Ms. */
export const HANDSHAKE_MS = 10_000;
/** How often the files of a certificate are looked at: renewed ones lie there days before the old ones end. Ms. */
export const LOOK_EVERY_MS = 5000;
/** TCP asks silent clients after this whether they are there. Ms. */
export const KEEP_ALIVE_MS = 60_000;
/** Connections that wait to be accepted: a crowd comes back at once. */
export const ACCEPT_BACKLOG = 4096;
/** Pause before a front that died is started anew. Ms. */
export const FRONT_RESTART_MS = 100;
/** Longest wait for a front to listen. Ms. */
export const FRONT_START_MS = 20_000;
/** What connections may still bring to an end after a stop was asked for; the process behind has the same. Ms. */
export const STOP_MS = 3000;
/** Expires within so many days: `jade-db doctor` says so. */
export const EXPIRES_SOON_DAYS = 14;
