// How far an import or export is, on stderr: a bar on a terminal, plain lines otherwise.

const BAR_CELLS = 24;
const TERMINAL_INTERVAL_MS = 100;
const PLAIN_INTERVAL_MS = 5000;

export interface ProgressInput {
  readonly verb: string;
  /** Of what; default: keys. */
  readonly noun?: string | undefined;
  /** Undefined = nobody knows. */
  readonly totalBytes?: number | undefined;
  readonly stream?: NodeJS.WriteStream | undefined;
}

export class Progress {
  readonly #verb: string;
  readonly #noun: string;
  readonly #totalBytes: number | undefined;
  readonly #stream: NodeJS.WriteStream;
  readonly #startMs = performance.now();
  #lastMs = 0;
  #firstLines: number | undefined;

  constructor({ verb, noun = "keys", totalBytes, stream = process.stderr }: ProgressInput) {
    this.#verb = verb;
    this.#noun = noun;
    this.#totalBytes = totalBytes;
    this.#stream = stream;
  }

  /** Shows it, if the last time is long enough ago. */
  update(lines: number, bytes: number): void {
    const nowMs = performance.now();
    this.#firstLines ??= lines;
    if (nowMs - this.#lastMs < (this.#stream.isTTY ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return;
    this.#lastMs = nowMs;
    this.#show(lines, bytes);
  }

  finish(lines: number, bytes: number): void {
    this.#show(lines, bytes);
    if (this.#stream.isTTY) this.#stream.write("\n");
  }

  #show(lines: number, bytes: number): void {
    const seconds = Math.max(0.001, (performance.now() - this.#startMs) / 1000);
    const rate = Math.round((lines - (this.#firstLines ?? 0)) / seconds);
    const size = bytes > 0 ? `, ${(bytes / 1e6).toFixed(1)} MB` : "";
    let text = `${this.#verb} ${lines.toLocaleString("en")} ${this.#noun}${size}, ${rate.toLocaleString("en")} ${this.#noun}/s`;
    if (this.#totalBytes) {
      const share = Math.min(1, bytes / this.#totalBytes);
      const full = Math.round(share * BAR_CELLS);
      const bar = this.#stream.isTTY ? `[${"#".repeat(full)}${".".repeat(BAR_CELLS - full)}] ` : "";
      text = `${bar}${String(Math.floor(share * 100)).padStart(3)} % ${text}`;
    }
    this.#stream.write(this.#stream.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  }
}
