// Copies of a tenant's vector databases come to other zones, when the Directory tells of other zones or a database asks for more of them (ADR 74).
// Guarantees: what was decided goes on after any crash, by the tenant's alarm; a copy serves when it has told that it has all; what was left behind where nobody
// answered is deleted when somebody does. Must not: decide where copies go (vector/database/placement.ts), or own an alarm.
import type { CopyZones } from "../src/access/types.ts";
import {
  fillingCount,
  fillingZones,
  isSamePlaced,
  steppedPlacement,
  withOwed,
} from "../src/vector/database/placement.ts";
import type { DatabaseRecord } from "../src/vector/database/record.ts";
import { shardCountOf } from "../src/vector/database/resharding.ts";
import type { CheckedTable } from "./checked-rows.ts";
import { zonesForCopies } from "./copy-zones.ts";
import { eraseStrays, filledCopies } from "./database-copies.ts";
import { type DatabaseRow as Row, recordOf } from "./database-rows.ts";
import { eachShard } from "./database-shards.ts";
import type { Env } from "./env.ts";

/** Copies that are being filled are asked whether they are after this, twice as long each time that nothing came of it, up to the longest. Ms. */
const LOOK_MS = 500;
const LONGEST_LOOK_MS = 8000;
/** A zone that did not answer is tried again after this. Ms. */
export const OWED_RETRY_MS = 60_000;

const READY = "WHERE state = 'ready'";
/** What a user wrote may have the word, too: then there is nothing to do. */
const having = (field: "filling" | "owed"): string => `${READY} AND instr(record, '"${field}"') > 0`;

export interface DatabasePlacingOptions {
  readonly env: Env;
  readonly rows: CheckedTable<Row>;
  /** The shards are brought to it behind this. */
  readonly store: (generation: number, record: DatabaseRecord, nowMs: number) => void;
  readonly settle: (tenant: number, generation: number) => Promise<void>;
}

export class DatabasePlacing {
  readonly #options: DatabasePlacingOptions;
  #owedDueMs = 0;
  #lookMs = LOOK_MS;

  constructor(options: DatabasePlacingOptions) {
    this.#options = options;
  }

  /** Decides where copies are to be now. Gives how many are on their way. In a turn. */
  decide(known: CopyZones, nowMs: number): number {
    const rows = this.#options.rows.selectWhole(READY);
    return rows.reduce((sum, row) => sum + this.#decide(row, known, new Map(), nowMs), 0);
  }

  #decide(row: Row, known: CopyZones, filled: ReadonlyMap<number, readonly string[]>, nowMs: number): number {
    const record = recordOf(row);
    const { placement, sharding, replication } = record;
    if (!placement || (replication.factor === 1 && !placement.filling)) return 0;
    const shardCount = shardCountOf(sharding);
    const next = { ...record, placement: steppedPlacement(record, { shardCount, known, filled }) };
    if (!isSamePlaced(record, next, shardCount)) this.#options.store(row.generation, next, nowMs);
    else this.#note(row, next);
    return record.lifecycle?.isArchived ? 0 : fillingCount(next.placement);
  }

  /** What no shard is told. */
  #note({ generation, record: before }: Row, record: DatabaseRecord): void {
    const text = JSON.stringify(record);
    if (text === before) return;
    this.#options.rows.update({ set: "record = ?", to: [text], where: "generation = ?", of: [generation] });
  }

  /** Of an archived database nothing can be filled. */
  #filling(): readonly Row[] {
    const rows = this.#options.rows.selectWhole(having("filling"));
    return rows.filter((row) => {
      const { placement, lifecycle } = recordOf(row);
      return placement?.filling && !lifecycle?.isArchived;
    });
  }

  #owed(): readonly Row[] {
    return this.#options.rows.selectWhole(having("owed")).filter((row) => recordOf(row).placement?.owed);
  }

  /** When `step` should be called next. */
  nextAtMs(nowMs: number): number | null {
    if (this.#filling().length > 0) return nowMs + this.#lookMs;
    return this.#owed().length > 0 ? Math.max(this.#owedDueMs, nowMs + LOOK_MS) : null;
  }

  /** Goes on with copies that are being filled, and with what is left elsewhere. */
  async step(tenant: number): Promise<void> {
    const filling = this.#filling();
    const known = filling.length > 0 ? await zonesForCopies(this.#options.env).catch(() => undefined) : undefined;
    let isChanged = false;
    if (known) for (const row of filling) isChanged = (await this.#fill(tenant, row, known)) || isChanged;
    this.#lookMs = isChanged ? LOOK_MS : Math.min(2 * this.#lookMs, LONGEST_LOOK_MS);
    if (Date.now() < this.#owedDueMs) return;
    this.#owedDueMs = Date.now() + OWED_RETRY_MS;
    for (const row of this.#owed()) await this.#clear(tenant, row);
  }

  /** False = nothing came of it. */
  async #fill(tenant: number, row: Row, { zones: known }: { readonly zones: CopyZones }): Promise<boolean> {
    const { env, settle } = this.#options;
    const filled = new Map<number, readonly string[]>();
    await eachShard({ env, tenant, row }, async (_, copied) => {
      if (fillingZones(copied.record, copied.shard).length > 0) filled.set(copied.shard, await filledCopies(copied));
    });
    // It was changed meanwhile: what is true of it now is asked again.
    const now = this.#current(row);
    if (!now) return true;
    this.#decide(now, known, filled, Date.now());
    await settle(tenant, row.generation);
    return !this.#current(row);
  }

  async #clear(tenant: number, row: Row): Promise<void> {
    const left: string[] = [];
    const erase = eachShard({ env: this.#options.env, tenant, row }, async (_, copied) => {
      left.push(...(await eraseStrays(copied)));
    });
    const now = (await erase) ? this.#current(row) : undefined;
    if (!now) return;
    const record = recordOf(now);
    this.#note(now, { ...record, placement: withOwed(record.placement!, left) });
  }

  /** Undefined = it is another one by now. */
  #current({ generation, record }: Row): Row | undefined {
    const [row] = this.#options.rows.selectWhole("WHERE generation = ?", generation);
    return row?.state === "ready" && row.record === record ? row : undefined;
  }
}
