// Snapshots and restores of a configuration keyspace, step by step: the shell of timers and storage around src/config/snapshot-source.ts and
// restore.ts.
// Guarantees: a restore becomes visible in one commit, after which the object starts anew, so that nothing in memory is of before; what a
// restore left that did not end, by a kill -9 too, is swept. Must not: hold more than a page.

import type { Desk } from "../src/config/desk.ts";
import { ConfigRefusal } from "../src/config/failure.ts";
import { SNAPSHOT_IDLE_MS } from "../src/config/limits.ts";
import { CorruptRecord, type Crc32c } from "../src/config/record.ts";
import { Restore, type Restored } from "../src/config/restore.ts";
import type { SnapshotBegin, SnapshotPage } from "../src/config/snapshot-source.ts";
import type { BinaryKey, ConfigFailure } from "../src/wire/config.ts";
import type { SnapshotEnd } from "../src/wire/config-snapshot.ts";
import { isErrorCode } from "../src/wire/error-codes.ts";
import { BEGAN_ANEW } from "./began-anew.ts";
import { configSql } from "./config-sql.ts";

/** `token`: of the restore; a repetition brings the same. */
export type SnapshotAsk =
  /** `revision`: 0 or absent = the present. */
  | { readonly kind: "begin"; readonly revision?: number }
  | { readonly kind: "keys"; readonly id: number; readonly after: BinaryKey }
  | { readonly kind: "records"; readonly id: number; readonly after: number }
  | { readonly kind: "end"; readonly id: number }
  | { readonly kind: "restored"; readonly token: number }
  | { readonly kind: "beginRestore"; readonly token: number; readonly revision: number }
  | { readonly kind: "restoreLeases" | "restoreKeys"; readonly token: number; readonly payload: Uint8Array }
  /** The object starts anew and the call fails: ask for `restored` then. */
  | { readonly kind: "finish"; readonly token: number; readonly end: SnapshotEnd; readonly leastRevision: number }
  | { readonly kind: "giveUp"; readonly token: number };

export type SnapshotAnswer =
  | { readonly kind: "begun"; readonly begin: SnapshotBegin }
  | { readonly kind: "page"; readonly page: SnapshotPage }
  | { readonly kind: "restored"; readonly restored: Restored | undefined }
  | { readonly kind: "done" };

export interface KeyspaceSnapshotsOptions {
  readonly ctx: DurableObjectState;
  readonly desk: Desk;
  readonly crc32c: Crc32c;
  readonly ensureRegistered: () => Promise<ConfigFailure | undefined>;
  /** One commit; after an exception that is no refusal the object starts anew. */
  readonly write: (run: () => void) => void;
  /** Nothing is read any more: what was put off may go on. */
  readonly onIdle: () => void;
}

const DONE: SnapshotAnswer = { kind: "done" };

export class KeyspaceSnapshots {
  readonly #options: KeyspaceSnapshotsOptions;
  readonly #restore: Restore;
  #isSweeping = false;
  #isWatchingIdle = false;

  constructor(options: KeyspaceSnapshotsOptions) {
    const { ctx, desk, crc32c } = options;
    this.#options = options;
    const { store, keyspace } = desk;
    this.#restore = new Restore({ sql: configSql(ctx.storage), crc32c, store, keyspace, now: Date.now });
    if (this.#restore.hasLeftovers) this.#sweepSoon();
  }

  /** Nothing was written since: what the keyspace holds nobody was told. */
  get isJustRestored(): boolean {
    return this.#restore.last?.revision === this.#options.desk.keyspace.revision;
  }

  async answer(ask: SnapshotAsk): Promise<SnapshotAnswer> {
    const { snapshots } = this.#options.desk;
    switch (ask.kind) {
      case "begin":
        this.#watchIdle();
        return { kind: "begun", begin: undamaged(() => snapshots.begin(ask.revision)) };
      case "keys":
        return { kind: "page", page: undamaged(() => snapshots.keys(ask.id, ask.after)) };
      case "records":
        return { kind: "page", page: undamaged(() => snapshots.records(ask.id, ask.after)) };
      case "end":
        snapshots.end(ask.id);
        this.#options.onIdle();
        return DONE;
      case "restored": {
        const { last } = this.#restore;
        return { kind: "restored", restored: last?.token === ask.token ? last : undefined };
      }
      case "beginRestore":
        return this.#begin(ask.token, ask.revision);
      case "restoreLeases":
        this.#stage(ask.token, () => this.#restore.leases(ask.token, ask.payload));
        return DONE;
      case "restoreKeys":
        this.#stage(ask.token, () => this.#restore.keys(ask.token, ask.payload));
        return DONE;
      case "finish":
        return this.#finish(ask);
      case "giveUp":
        this.#giveUp(ask.token);
        return DONE;
      default:
        return ask satisfies never;
    }
  }

  async #begin(token: number, revision: number): Promise<SnapshotAnswer> {
    const refusal = await this.#options.ensureRegistered();
    if (refusal) {
      const code = isErrorCode(refusal.code) ? refusal.code : "internal";
      throw new ConfigRefusal(code, refusal.message, refusal.details);
    }
    const { touchedMs } = this.#restore;
    if (touchedMs !== undefined && Date.now() - touchedMs < SNAPSHOT_IDLE_MS)
      throw new ConfigRefusal("conflict", "another restore of the namespace is under way");
    while (!this.#sweepStep()) await pause();
    this.#options.write(() => this.#restore.begin({ token, revision }));
    this.#watchIdle();
    return DONE;
  }

  #stage(token: number, run: () => void): void {
    const refusal = this.#written(run);
    if (!refusal) return;
    this.#giveUp(token);
    throw refusal;
  }

  #written(run: () => void): ConfigRefusal | undefined {
    let refusal: ConfigRefusal | undefined;
    this.#options.write(() => {
      try {
        run();
      } catch (error) {
        if (!(error instanceof ConfigRefusal)) throw error;
        refusal = error;
      }
    });
    return refusal;
  }

  async #finish({ token, end, leastRevision }: Extract<SnapshotAsk, { kind: "finish" }>): Promise<SnapshotAnswer> {
    const { ctx } = this.#options;
    // Nothing else runs between the commit and the new start: what is in memory is of before.
    const refusal = await ctx.blockConcurrencyWhile(async () => {
      const refused = this.#written(() => this.#restore.finish(token, end, leastRevision));
      if (refused) return refused;
      await ctx.storage.sync();
      ctx.abort(BEGAN_ANEW.restored);
      return undefined;
    });
    if (!refusal) return DONE;
    this.#giveUp(token);
    throw refusal;
  }

  #giveUp(token: number): void {
    this.#restore.giveUp(token);
    this.#sweepSoon();
  }

  /** While there are readings or a restore: those that nobody goes on with end. */
  #watchIdle(): void {
    if (this.#isWatchingIdle) return;
    this.#isWatchingIdle = true;
    setTimeout(() => {
      this.#isWatchingIdle = false;
      const { touchedMs } = this.#restore;
      const isRestoring = touchedMs !== undefined;
      if (isRestoring && Date.now() - touchedMs >= SNAPSHOT_IDLE_MS) {
        this.#restore.giveUp();
        this.#sweepSoon();
      }
      if (this.#options.desk.snapshots.isReading || isRestoring) this.#watchIdle();
      else this.#options.onIdle();
    }, SNAPSHOT_IDLE_MS);
  }

  #sweepSoon(): void {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    setTimeout(() => {
      this.#isSweeping = false;
      if (!this.#sweepStep()) this.#sweepSoon();
    }, 0);
  }

  #sweepStep(): boolean {
    let isSwept = true;
    this.#options.write(() => {
      isSwept = this.#restore.sweep();
    });
    return isSwept;
  }
}

/** What is damaged is an error of the reading that meets it. */
function undamaged<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CorruptRecord) throw new ConfigRefusal("dataCorrupt", error.message);
    throw error;
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
