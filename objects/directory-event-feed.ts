// Writes the cluster's events into the configuration of the tenant that `cluster.eventsTenant` names, where they are watched and sent on by
// webhooks as any other change (ADR 76).
// Guarantees: each event once, in order, whatever crashes; one that cannot be written now is tried again, and those behind it wait.
// Must not: own an alarm, or delay what the Directory does.
import { retryDelayMs } from "../src/access/schedule.ts";
import { eventTxn } from "../src/cluster/events.ts";
import type { Logger } from "../src/telemetry/logger.ts";
import { ByteWriter } from "../src/wire/bytes.ts";
import { readConfigAnswers } from "../src/wire/config-answers.ts";
import { writeConfigCall } from "../src/wire/config-requests.ts";
import type { DirectoryStore } from "./directory-store.ts";
import type { Env } from "./env.ts";
import type { TurnQueue } from "./turn-queue.ts";
import { withDeadline } from "./with-deadline.ts";

const CALL_TIMEOUT_MS = 5000;
const EVENTS_AT_ONCE = 50;
const NAMESPACE = "default";
const FIRST_FRAME_BYTES = 4096;

export interface DirectoryEventFeedOptions {
  readonly env: () => Env;
  readonly store: DirectoryStore;
  readonly turns: TurnQueue;
  readonly log: Logger;
  /** Its id; "" = none. */
  readonly tenantId: () => string;
}

export class DirectoryEventFeed {
  readonly #options: DirectoryEventFeedOptions;
  #failures = 0;
  #dueMs = 0;

  constructor(options: DirectoryEventFeedOptions) {
    this.#options = options;
  }

  /** When `step` should be called next. */
  nextAtMs(nowMs: number): number | null {
    const { store, tenantId } = this.#options;
    return tenantId() !== "" && store.toldEvent < store.lastEvent ? Math.max(nowMs, this.#dueMs) : null;
  }

  /** Never throws. */
  async step(): Promise<void> {
    const { store, turns, log, tenantId } = this.#options;
    const dueMs = this.nextAtMs(Date.now());
    if (dueMs === null || dueMs > Date.now()) return;
    const { toldEvent } = store;
    try {
      const events = store.eventsAfter(toldEvent, EVENTS_AT_ONCE);
      // Those between that are missing were forgotten before there was anybody to tell.
      if (events.length > 0) await this.#write(events);
      await turns.run(() => store.saveToldEvent(events.at(-1)?.number ?? store.lastEvent));
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      this.#dueMs = Date.now() + retryDelayMs(this.#failures);
      log.warn("cluster events not written", { tenantId: tenantId(), failures: this.#failures }, error);
    }
  }

  async #write(events: ReturnType<DirectoryStore["eventsAfter"]>): Promise<void> {
    const { env, store, tenantId } = this.#options;
    const tenant = store.activeTenant(tenantId());
    if (tenant === null) throw new Error(`there is no tenant "${tenantId()}"`);
    const writer = new ByteWriter(FIRST_FRAME_BYTES);
    events.forEach((event, id) => {
      writeConfigCall(writer, { id, request: eventTxn(event) });
    });
    const keyspaces = env().CONFIG_KEYSPACE;
    const keyspace = keyspaces.get(keyspaces.idFromName(`c${tenant}/${NAMESPACE}`));
    const frame = await withDeadline(keyspace.call(writer.take()), CALL_TIMEOUT_MS, "ConfigKeyspace");
    const answers = readConfigAnswers(frame);
    if (answers.length !== events.length) throw new Error("the keyspace left events unanswered");
    for (const { answer } of answers) if (answer.kind === "error") throw new Error(`${answer.code}: ${answer.message}`);
  }
}
