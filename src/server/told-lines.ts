// Lines of workerd's that tell nobody anything: taken out of what users see. Every other line passes as it came.
// Must not: hold back a line that has come whole.

/**
 * Printed where a stop meets calls between objects that are still under way, after everybody who called from outside was answered. workerd's own teardown: nothing is lost
 * by it, and nothing outside can wait for it.
 */
const UNTOLD =
  /^workerd\/\S+: error: the worker factory is still referenced after the server was dropped; a service leaked$/;

export class ToldLines {
  #part = "";

  /** What of it is to be told now. */
  push(text: string): string {
    const lines = (this.#part + text).split("\n");
    this.#part = lines.pop()!;
    const told = lines.filter((line) => !UNTOLD.test(line));
    return told.map((line) => `${line}\n`).join("");
  }

  /** What came without an end. */
  end(): string {
    const part = this.#part;
    this.#part = "";
    return UNTOLD.test(part) ? "" : part;
  }
}
