// Hints in memory: the simulator's stand-in for the SQL table of hint-log.ts.

import { writeOp } from "../../src/replication/frames.ts";
import type { HintSource } from "../../src/replication/hint-delivery.ts";
import type { HintBatch } from "../../src/replication/hint-log.ts";
import type { HintSpan } from "../../src/replication/purge-round.ts";
import type { HintStore } from "../../src/replication/replica.ts";
import type { RowKey } from "../../src/storage/types.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";

export interface MemoryHintLogOptions {
  readonly onAdd?: (target: string, row: RowKey, state: Uint8Array) => void;
  /** A planted mistake: hints are acknowledged and forgotten. */
  readonly loses?: boolean;
}

export class MemoryHintLog implements HintStore, HintSource {
  #hints: { id: number; target: string; bytes: Uint8Array }[] = [];
  #nextId = 1;
  readonly #options: MemoryHintLogOptions;

  constructor(options: MemoryHintLogOptions = {}) {
    this.#options = options;
  }

  get count(): number {
    return this.#hints.length;
  }

  /** As it was, for a crash before the commit. */
  copy(): MemoryHintLog {
    const copy = new MemoryHintLog(this.#options);
    copy.#hints = [...this.#hints];
    copy.#nextId = this.#nextId;
    return copy;
  }

  add(target: string, row: RowKey, state: Uint8Array): boolean {
    this.#options.onAdd?.(target, row, state);
    if (this.#options.loses) return true;
    const writer = new ByteWriter(state.length + 64);
    writeOp(writer, { kind: "merge", row, state });
    this.#hints.push({ id: this.#nextId++, target, bytes: writer.take() });
    return true;
  }

  targets(): string[] {
    return [...new Set(this.#hints.map((hint) => hint.target))];
  }

  span(): HintSpan {
    return { first: this.#hints[0]?.id ?? null, last: this.#nextId - 1 };
  }

  next(target: string, afterId = 0): HintBatch | undefined {
    const due = this.#hints.filter((hint) => hint.target === target && hint.id > afterId).slice(0, 16);
    if (due.length === 0) return undefined;
    const writer = new ByteWriter(due.reduce((sum, { bytes }) => sum + bytes.length, 0));
    for (const hint of due) writer.raw(hint.bytes);
    return { frame: writer.take(), hintCount: due.length, lastId: due.at(-1)!.id, ids: due.map(({ id }) => id) };
  }

  drop(target: string, lastId: number, kept: readonly number[] = []): void {
    this.#hints = this.#hints.filter(({ target: to, id }) => to !== target || id > lastId || kept.includes(id));
  }

  expire(): number {
    return 0;
  }
}
