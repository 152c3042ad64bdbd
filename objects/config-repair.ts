// A keyspace's damaged rows, restored from its log or from what a zone's follower holds.
// Guarantees: followers are asked only for what was found damaged, each place once a minute at most; what they give is judged by
// src/config/repair.ts. Must not: hold up calls that met no damage.
import type { Damage } from "../src/config/damage.ts";
import type { Crc32c, DamagedPlace } from "../src/config/record.ts";
import { type Intact, restore, restoreFromLog } from "../src/config/repair.ts";
import type { ConfigStore } from "../src/config/store.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import type { Env } from "./env.ts";
import { copyName } from "./known-namespaces.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;
/** A place that nobody holds is asked for again after this. Ms. */
const RETRY_MS = 60_000;
const MAX_REMEMBERED = 10_000;

export interface ConfigRepairOptions {
  readonly env: Env;
  /** Of the keyspace. */
  readonly name: string | undefined;
  readonly crc32c: Crc32c;
  readonly log: Logger;
  readonly now: () => number;
  /** One turn, whole or not at all. */
  readonly inTurn: <T>(run: () => T) => T;
}

export class ConfigRepair {
  readonly #options: ConfigRepairOptions;
  /** When what could not be restored was asked for. */
  readonly #asked = new Map<string, number>();

  constructor(options: ConfigRepairOptions) {
    this.#options = options;
  }

  /** Of what calls have met. True = something is whole again. */
  async all(store: ConfigStore, damage: Damage): Promise<boolean> {
    let isBetter = false;
    for (const place of damage.takePlaces()) {
      const isRestored = this.#mayAsk(place) && (await this.#one(store, place));
      if (isRestored) damage.repairedTotal++;
      isBetter ||= isRestored;
    }
    return isBetter;
  }

  #mayAsk(place: DamagedPlace): boolean {
    const [text, nowMs] = [JSON.stringify(place), this.#options.now()];
    if (nowMs - (this.#asked.get(text) ?? Number.NEGATIVE_INFINITY) < RETRY_MS) return false;
    if (this.#asked.size >= MAX_REMEMBERED) this.#asked.clear();
    this.#asked.set(text, nowMs);
    return true;
  }

  async #one(store: ConfigStore, place: DamagedPlace): Promise<boolean> {
    const { log, crc32c, inTurn } = this.#options;
    const isDone = this.#quietly(() => inTurn(() => restoreFromLog(store, place)));
    if (isDone) log.info("a damaged row is restored from the log", { place: place.kind });
    if (isDone) return true;
    for (const zone of await this.#zones()) {
      const intact = await this.#ask(zone, place);
      if (!intact || !this.#quietly(() => inTurn(() => restore(store, { place, intact }, crc32c)))) continue;
      log.info("a damaged row is restored from a follower", { place: place.kind, zone });
      this.#asked.delete(JSON.stringify(place));
      return true;
    }
    log.error("a damaged row cannot be restored: nobody else holds it", { place: place.kind });
    return false;
  }

  async #ask(zone: string, place: DamagedPlace): Promise<Intact | undefined> {
    const { env, name } = this.#options;
    try {
      const follower = env.CONFIG_FOLLOWER.get(env.CONFIG_FOLLOWER.idFromName(copyName(zone, name ?? "")));
      return (await withDeadline(follower.intact(place), CALL_TIMEOUT_MS, "ConfigFollower")) ?? undefined;
    } catch {
      return undefined; // away, or damaged too: another zone may have it
    }
  }

  async #zones(): Promise<readonly string[]> {
    const { DIRECTORY } = this.#options.env;
    try {
      const view = await withDeadline(
        DIRECTORY.get(DIRECTORY.idFromName("system")).view(),
        CALL_TIMEOUT_MS,
        "Directory",
      );
      return [...new Set(view.nodes.map(({ zone }) => zone))];
    } catch {
      return [];
    }
  }

  /** What it needs may be damaged too. */
  #quietly(run: () => boolean): boolean {
    try {
      return run();
    } catch (error) {
      this.#options.log.warn("a damaged row is not restored", {}, error);
      return false;
    }
  }
}
