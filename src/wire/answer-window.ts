// How much one session may be answered before its client has read: a client that reads slowly, or not at all, holds up only itself.
// Guarantees: requests are let through in order while what is unread and what is expected stays within the window; at least one at
// a time once all is read. Pure. Must not: know sockets.

/** Answers that a client may have unread before its further requests wait. Bytes; several times ACK_EVERY_BYTES. */
export const ANSWER_WINDOW_BYTES = 4 * 1024 * 1024;
/** What a read is expected to answer before the session has seen one. Bytes. */
const FIRST_EXPECTED_BYTES = 64 * 1024;
/** Weight of the newest answer in what is expected of the next. */
const NEWEST = 1 / 8;
const UINT32 = 2 ** 32;

export class AnswerWindow {
  /** Both modulo 2^32, as acknowledged on the wire. */
  #sentBytes = 0;
  #readBytes = 0;
  #expectedBytes = FIRST_EXPECTED_BYTES;
  #readsInFlight = 0;

  /** Bytes of answers sent and not acknowledged. */
  get unreadBytes(): number {
    return (this.#sentBytes - this.#readBytes + UINT32) % UINT32;
  }

  /** May another request start? Writes answer little and only wait for what is unread. */
  get isOpen(): boolean {
    const expected = this.#readsInFlight * this.#expectedBytes;
    if (this.#readsInFlight === 0) return this.unreadBytes < ANSWER_WINDOW_BYTES;
    return this.unreadBytes + expected < ANSWER_WINDOW_BYTES;
  }

  /** A read was started. */
  started(): void {
    this.#readsInFlight++;
  }

  /** A read was answered with so many bytes. */
  answered(bytes: number): void {
    this.#readsInFlight--;
    this.#expectedBytes += (bytes - this.#expectedBytes) * NEWEST;
  }

  sent(bytes: number): void {
    this.#sentBytes = (this.#sentBytes + bytes) % UINT32;
  }

  /** The client says that it has read so many bytes in all (modulo 2^32). An impossible position is ignored. */
  acknowledged(position: number): void {
    const ahead = (position - this.#readBytes + UINT32) % UINT32;
    if (ahead <= this.unreadBytes) this.#readBytes = position;
  }
}
