// A shard's part in telling homes where rows are, after a restore: of its own rows, and of its own ids.
// Guarantees: it says that it is done when each home has all of it durably; what a home hears late, when the restore has gone on, changes nothing.
// Must not: move rows.
import type { Logger } from "../src/telemetry/logger.ts";
import { TOLD_ROWS } from "../src/vector/sharding/limits.ts";
import { type TakingPlaces, takePlaces } from "../src/vector/sharding/relocate.ts";
import type { VectorShown } from "../src/wire/vector.ts";
import type { RelocationAsk, VectorShardRpc } from "./vector-rpc.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;
/** A home that does not take rows now is told again after this: it hears of the phase later. Ms. */
const RETRY_MS = 100;
/** If the object was put to sleep in the middle. Ms. */
const WAKE_MS = 2000;

export interface VectorRelocatingOptions extends TakingPlaces {
  readonly log: Logger;
  readonly homeOf: (id: string) => number;
  readonly stub: (shard: number) => VectorShardRpc;
  /** The restore whose rows are to be told now. */
  readonly token: () => string | undefined;
  /** The last one whose rows all homes know. */
  readonly told: () => string | undefined;
  readonly setTold: (token: string) => void;
  readonly wakeAt: (atMs: number) => void;
  /** Copies that may be asked have heard of the restore after it. */
  readonly lagMs: () => number;
}

type Told = RelocationAsk & { readonly kind: "rows" };

export class VectorRelocating {
  readonly #options: VectorRelocatingOptions;
  #isTelling = false;
  /** Pages are taken one after another. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: VectorRelocatingOptions) {
    this.#options = options;
  }

  /** Tells the homes of this shard's rows, unless that is done or under way. */
  async tell(): Promise<void> {
    const { token: tokenNow, told, setTold, log, wakeAt } = this.#options;
    const token = tokenNow();
    if (token === undefined || this.#isTelling || told() === token) return;
    this.#isTelling = true;
    try {
      if (await this.#tellAll(token)) setTold(token);
    } catch (error) {
      log.warn("where rows are could not be told; tried again", {}, error);
    } finally {
      this.#isTelling = false;
      if (tokenNow() !== undefined) wakeAt(Date.now() + RETRY_MS);
    }
  }

  /** False = it is over. */
  async #tellAll(token: string): Promise<boolean> {
    const { ask, own, token: tokenNow, wakeAt, lagMs } = this.#options;
    const untilMs = Date.now() + lagMs();
    let cursor: Uint8Array = new Uint8Array(0);
    do {
      wakeAt(Date.now() + WAKE_MS);
      const page = await ask(own, { kind: "list", cursor, limit: TOLD_ROWS, filter: undefined, shown: {} });
      if (page.kind !== "rows") throw new Error(`rows cannot be listed: ${JSON.stringify(page)}`);
      await this.#tellPage(
        token,
        page.rows.filter((row) => row !== null),
      );
      if (tokenNow() !== token) return false;
      cursor = page.cursor;
    } while (cursor.length > 0);
    while (Date.now() < untilMs) {
      wakeAt(Date.now() + WAKE_MS);
      await pause(Math.min(RETRY_MS, untilMs - Date.now()));
    }
    return tokenNow() === token;
  }

  async #tellPage(token: string, rows: readonly VectorShown[]): Promise<void> {
    const { own, homeOf } = this.#options;
    const told = [...Map.groupBy(rows, ({ id }) => homeOf(id))].filter(([home]) => home !== own);
    await Promise.all(
      told.map(([home, of]) => {
        const ids = of.map(({ id }) => id);
        const stamps = {
          versions: of.map(({ stamp }) => stamp.version),
          createdMs: of.map(({ stamp }) => stamp.createdMs),
        };
        return this.#tellHome(home, { kind: "rows", token, from: own, ids, ...stamps });
      }),
    );
  }

  /** Until it has them, or the restore has gone on. */
  async #tellHome(home: number, rows: Told): Promise<void> {
    const { token, stub, wakeAt } = this.#options;
    while (token() === rows.token) {
      const told = withDeadline(stub(home).relocation(rows), CALL_TIMEOUT_MS, "VectorShard");
      if (await told.catch(() => false)) return;
      wakeAt(Date.now() + WAKE_MS);
      await pause(RETRY_MS);
    }
  }

  /** Of ids whose home is here. False = not now. */
  async take(told: Told): Promise<boolean> {
    const taken = this.#last.then(async () => {
      if (this.#options.token() !== told.token) return false;
      await takePlaces(this.#options, told);
      return true;
    });
    this.#last = taken.catch(() => undefined);
    return taken;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
