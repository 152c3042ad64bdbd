// Records of a CSV file (RFC 4180): commas, quotes that are doubled inside quotes, line ends inside quotes; CRLF or LF.
// Guarantees: memory is bounded by a record; what is no CSV is an error that names the line on which the record began.
import { MAX_COLUMNS, MAX_RECORD_CHARACTERS } from "./limits.ts";
import { malformed, type VectorFile } from "./rows.ts";

export interface CsvRecord {
  readonly cells: readonly string[];
  /** Of the record's first line, from 1. */
  readonly lineNumber: number;
  readonly doneBytes: number;
}

/** Where the reader stands: at a cell's start, in a plain cell, within quotes, behind a quote within quotes. */
type State = "start" | "plain" | "quoted" | "quote";

class RecordParser {
  readonly #file: VectorFile;
  #state: State = "start";
  #cell = "";
  #cells: string[] = [];
  #characters = 0;
  #line = 1;
  #firstLine = 1;
  doneBytes = 0;

  constructor(file: VectorFile) {
    this.#file = file;
  }

  *feed(text: string): Generator<CsvRecord, void, undefined> {
    for (let at = 0; at < text.length; ) {
      const stop = this.#stopOf(text, at);
      this.#append(text.slice(at, stop));
      if (stop === text.length) return;
      const record = this.#mark(text[stop]!);
      if (record) yield record;
      at = stop + 1;
    }
  }

  *end(): Generator<CsvRecord, void, undefined> {
    if (this.#state === "quoted") throw this.#refuse("the file ends within quotes");
    const record = this.#endRecord();
    if (record) yield record;
  }

  /** The next character that means something. */
  #stopOf(text: string, from: number): number {
    let at = from;
    if (this.#state === "quoted") {
      while (at < text.length && text[at] !== '"' && text[at] !== "\n") at++;
      return at;
    }
    if (this.#state === "quote") return at;
    while (at < text.length && text[at] !== '"' && text[at] !== "\n" && text[at] !== ",") at++;
    return at;
  }

  #append(part: string): void {
    if (part === "") return;
    this.#cell += part;
    this.#characters += part.length;
    if (this.#state === "start") this.#state = "plain";
    if (this.#characters > MAX_RECORD_CHARACTERS)
      throw this.#refuse(`the record is longer than ${MAX_RECORD_CHARACTERS} characters`);
  }

  #mark(character: string): CsvRecord | undefined {
    if (character === "\n") this.#line++;
    if (this.#state === "quoted") {
      if (character === '"') this.#state = "quote";
      else this.#append(character);
      return undefined;
    }
    if (character === '"') {
      if (this.#state === "plain") throw this.#refuse("a quote within a cell that does not begin with one");
      if (this.#state === "quote") this.#cell += '"';
      this.#state = "quoted";
      return undefined;
    }
    if (character === ",") {
      this.#endCell();
      return undefined;
    }
    if (character === "\n") return this.#endRecord();
    // Behind a closing quote; of a CRLF the line end follows.
    if (character === "\r") return undefined;
    throw this.#refuse(`${JSON.stringify(character)} follows the closing quote of a cell`);
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    this.#cell = "";
    this.#state = "start";
    if (this.#cells.length > MAX_COLUMNS) throw this.#refuse(`has more than ${MAX_COLUMNS} columns`);
  }

  /** Undefined for an empty line. */
  #endRecord(): CsvRecord | undefined {
    if (this.#state === "plain" && this.#cell.endsWith("\r")) this.#cell = this.#cell.slice(0, -1);
    const isEmpty = this.#cells.length === 0 && this.#cell === "" && this.#state !== "quote";
    const lineNumber = this.#firstLine;
    this.#endCell();
    const cells = this.#cells;
    this.#cells = [];
    this.#characters = 0;
    this.#firstLine = this.#line;
    return isEmpty ? undefined : { cells, lineNumber, doneBytes: this.doneBytes };
  }

  #refuse(what: string): Error {
    return malformed(this.#file, `line ${this.#firstLine}`, what);
  }
}

export async function* csvRecords(file: VectorFile): AsyncGenerator<CsvRecord, void, undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const parser = new RecordParser(file);
  const decoded = (chunk?: Uint8Array): string => {
    try {
      return chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode();
    } catch {
      throw malformed(file, `within the 256 KiB before byte ${parser.doneBytes}`, "not valid UTF-8");
    }
  };
  for await (const chunk of file.stream()) {
    parser.doneBytes += chunk.length;
    yield* parser.feed(decoded(chunk));
  }
  yield* parser.feed(decoded());
  yield* parser.end();
}

/** A cell, in quotes where it needs them. */
export function csvCell(text: string): string {
  return /[",\r\n]/.test(text) || text === "" ? `"${text.replaceAll('"', '""')}"` : text;
}
