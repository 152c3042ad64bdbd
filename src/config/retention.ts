// How far back history is kept without being asked: by age and by number of revisions.
// Guarantees: what is younger than the age and within the number is never given up; a few samples say when a revision was. Must not:
// compact (the keyspace does), read a clock.
import type { SqlStorage } from "../storage/types.ts";
import { bytesOfKey, keyOfText } from "../wire/config-keys.ts";
import type { Damage } from "./damage.ts";
import type { Crc32c } from "./record.ts";

export interface RetentionLimits {
  /** 0 = no bound by age. Ms. */
  readonly keepMs: number;
  /** 0 = no bound by number. */
  readonly keepRevisions: number;
}

interface Sample {
  readonly atMs: number;
  readonly revision: number;
}

/** Samples over the time that is kept: history may live longer by one share. */
const SAMPLES = 100;
/** A compaction by number waits until this share of the number is too much. */
const NUMBER_SHARE = 20;

export class Retention {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #limits: RetentionLimits;
  /** In order of time; the first may be older than what is kept. */
  readonly #samples: Sample[] = [];

  constructor(sql: SqlStorage, crc32c: Crc32c, limits: RetentionLimits & { readonly damage?: Damage | undefined }) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    this.#limits = limits;
    const damaged: number[] = [];
    const rows = sql.exec<{ at_ms: number; revision: number; crc: number }>(
      "SELECT at_ms, revision, crc FROM config_times ORDER BY at_ms",
    );
    for (const { at_ms: atMs, revision, crc } of rows) {
      if (this.#crcOf({ atMs, revision }) !== crc) damaged.push(atMs);
      else this.#samples.push({ atMs, revision });
    }
    // Without it history lives until the next sample is old: longer, never shorter.
    for (const atMs of damaged) {
      limits.damage?.lost("a time of a revision fails its checksum");
      sql.exec("DELETE FROM config_times WHERE at_ms = ?", atMs);
    }
  }

  /** Called in turns that may have made revisions. */
  note(nowMs: number, revision: number): void {
    const { keepMs } = this.#limits;
    if (keepMs === 0) return;
    const last = this.#samples.at(-1);
    if (last && (revision === last.revision || nowMs < last.atMs + keepMs / SAMPLES)) return;
    const sample = { atMs: nowMs, revision };
    this.#samples.push(sample);
    this.#sql.exec(
      "INSERT OR REPLACE INTO config_times (at_ms, revision, crc) VALUES (?, ?, ?)",
      nowMs,
      revision,
      this.#crcOf(sample),
    );
  }

  /** Up to which revision history should go now; undefined = nothing to give up. */
  due(nowMs: number, { revision, compacted }: { revision: number; compacted: number }): number | undefined {
    const { keepMs, keepRevisions } = this.#limits;
    let target = compacted;
    while (keepMs > 0 && this.#samples[0] && this.#samples[0].atMs <= nowMs - keepMs) {
      // What was written until the sample is older than it: all of it may go.
      const { revision: old, atMs } = this.#samples.shift()!;
      this.#sql.exec("DELETE FROM config_times WHERE at_ms <= ?", atMs);
      target = Math.max(target, old);
    }
    if (keepRevisions > 0 && revision - compacted > keepRevisions + keepRevisions / NUMBER_SHARE) {
      target = Math.max(target, revision - keepRevisions);
    }
    return target > compacted ? target : undefined;
  }

  /** When `due` should be asked again, whatever is written; infinity = never. */
  get nextDueMs(): number {
    const oldest = this.#samples[0];
    return oldest ? oldest.atMs + this.#limits.keepMs : Number.POSITIVE_INFINITY;
  }

  #crcOf({ atMs, revision }: Sample): number {
    return this.#crc32c(bytesOfKey(keyOfText(`${atMs} ${revision}`)));
  }
}
