// The incarnation of this instance in the cluster's gossip, kept over its lives.
// Guarantees: each start gets a higher one than every start before it, and than every one that was saved; it is on disk before it is told.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FILE = "incarnation";

export class Incarnation {
  readonly #path: string;
  #value: number;

  /** The next one: saved before this returns. */
  constructor(dataDir: string) {
    this.#path = join(dataDir, FILE);
    this.#value = readKept(this.#path);
    this.save(this.#value + 1);
  }

  get value(): number {
    return this.#value;
  }

  save(value: number): void {
    if (value <= this.#value) return;
    const file = openSync(`${this.#path}.tmp`, "w", 0o600);
    try {
      writeFileSync(file, String(value));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(`${this.#path}.tmp`, this.#path);
    this.#value = value;
  }
}

/** 0 = there is none, or it cannot be read: then the others' objections bring it up (spec CL-60). */
function readKept(path: string): number {
  try {
    const value = Number(readFileSync(path, "utf8"));
    return Number.isSafeInteger(value) && value > 0 ? value : 0;
  } catch {
    return 0; // the first start
  }
}
