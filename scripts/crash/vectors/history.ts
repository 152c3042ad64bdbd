// What one lane wrote to each of its vectors, and whether what is there after a kill may be there. Pure.

/** How long after its acknowledgement a write may still be lost, by the durability it was made with. Ms. */
export const LOSS_WINDOW_MS = { sync: 0, periodic: 1000, eventual: 10_000 } as const;
export type Durability = keyof typeof LOSS_WINDOW_MS;

interface Write {
  readonly number: number;
  readonly isDelete: boolean;
  /** Undefined: never answered, so it may be there or not. */
  acknowledgedMs?: number;
}

const NOTHING: Write = { number: 0, isDelete: true, acknowledgedMs: Number.NEGATIVE_INFINITY };

export class VectorHistory {
  readonly #writes = new Map<string, Write[]>();
  readonly #windowMs: number;
  /** The oldest acknowledged write that was lost, within its window. Ms before the kill. */
  oldestLossMs = 0;

  constructor(durability: Durability) {
    this.#windowMs = LOSS_WINDOW_MS[durability];
  }

  get ids(): IterableIterator<string> {
    return this.#writes.keys();
  }

  /** Before it is sent: answered or not, it may be there from now on. */
  begin(ids: readonly string[], number: number, isDelete: boolean): void {
    for (const id of ids) {
      const writes = this.#writes.get(id);
      if (writes) writes.push({ number, isDelete });
      else this.#writes.set(id, [NOTHING, { number, isDelete }]);
    }
  }

  acknowledged(ids: readonly string[], number: number, nowMs: number): void {
    for (const id of ids) {
      const write = this.#writes.get(id)!.at(-1)!;
      if (write.number !== number) throw new Error(`${id}: ${number} is answered, ${write.number} was sent`);
      write.acknowledgedMs = nowMs;
    }
  }

  /**
   * `found`: id → the number of the write that is there. Gives what must not be, and goes on from what is.
   * @param killedMs when the server was killed, of the same clock as acknowledgements
   */
  judge(found: ReadonlyMap<string, number>, killedMs: number): string[] {
    const problems: string[] = [];
    for (const [id, writes] of this.#writes) {
      const number = found.get(id);
      const at = writes.findLastIndex((write) => (number === undefined ? write.isDelete : write.number === number));
      if (at < 0 || (number !== undefined && writes[at]!.isDelete)) {
        problems.push(`${id}: ${number ?? "nothing"} is there, which nobody wrote`);
        continue;
      }
      for (const { number: lost, acknowledgedMs = Number.POSITIVE_INFINITY } of writes.slice(at + 1)) {
        if (acknowledgedMs === Number.POSITIVE_INFINITY) continue;
        const ageMs = killedMs - acknowledgedMs;
        if (this.#windowMs === 0 || ageMs > this.#windowMs)
          problems.push(`${id}: write ${lost}, acknowledged ${Math.round(ageMs)} ms before the kill, is lost`);
        else this.oldestLossMs = Math.max(this.oldestLossMs, ageMs);
      }
      this.#writes.set(id, [{ ...writes[at]!, acknowledgedMs: Number.NEGATIVE_INFINITY }]);
    }
    for (const id of found.keys()) if (!this.#writes.has(id)) problems.push(`${id} is there, which nobody wrote`);
    return problems;
  }
}
