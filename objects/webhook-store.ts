// A subscription's tables: what it is, how far it is, its secrets and its dead letters.
// Guarantees: synchronous; rows carry CRC32C and are refused where it does not match; dead letters are bounded. Must not: decide.
import { WEBHOOK_SENDER_MIGRATIONS } from "../migrations/webhooks.ts";
import { MAX_DEAD_LETTERS } from "../src/config/limits.ts";
import { CorruptRecord, type Crc32c } from "../src/config/record.ts";
import type { WebhookSecret } from "../src/config/webhook-signature.ts";
import type { DeadLetter, WebhookProgress, WebhookSubscription } from "../src/config/webhook-types.ts";
import { applyMigrations } from "./migrate.ts";
import type { NumberedDeadLetter } from "./webhook-rpc.ts";

interface Facts {
  readonly subscription: WebhookSubscription;
  readonly progress: WebhookProgress;
  /** The present one first. */
  readonly secrets: readonly WebhookSecret[];
  /** `sealing`: base64; new secrets are derived from it. */
  readonly origin: { readonly createdAtMs: number; readonly sealing: string };
}

type LetterRow = { id: number; letter: string; crc: number };

const NAMES = ["subscription", "progress", "secrets", "origin"] as const;
const encoder = new TextEncoder();

export class WebhookStore {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  #facts: Facts;

  private constructor(sql: SqlStorage, crc32c: Crc32c, facts: Facts) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    this.#facts = facts;
  }

  /** Undefined = nothing is stored. Throws CorruptRecord. */
  static open(storage: DurableObjectStorage, crc32c: Crc32c): WebhookStore | undefined {
    const { sql } = storage;
    if (sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'webhook_facts'").toArray().length === 0) return undefined;
    applyMigrations(storage, "webhook-sender", WEBHOOK_SENDER_MIGRATIONS);
    const rows = sql.exec<{ name: string; value: string; crc: number }>("SELECT * FROM webhook_facts").toArray();
    if (rows.length === 0) return undefined;
    const facts: Record<string, unknown> = {};
    for (const { name, value, crc } of rows) {
      if (crcOf(crc32c, name, value) !== crc) throw new CorruptRecord(`the webhook's ${name} fails its checksum`);
      facts[name] = JSON.parse(value);
    }
    for (const name of NAMES) if (!(name in facts)) throw new CorruptRecord(`the webhook's ${name} is missing`);
    return new WebhookStore(sql, crc32c, facts as unknown as Facts);
  }

  static create(storage: DurableObjectStorage, crc32c: Crc32c, facts: Facts): WebhookStore {
    applyMigrations(storage, "webhook-sender", WEBHOOK_SENDER_MIGRATIONS);
    const store = new WebhookStore(storage.sql, crc32c, facts);
    storage.transactionSync(() => store.set(facts));
    return store;
  }

  get facts(): Facts {
    return this.#facts;
  }

  set(changed: Partial<Facts>): void {
    for (const [name, value] of Object.entries(changed)) {
      const text = JSON.stringify(value);
      const crc = crcOf(this.#crc32c, name, text);
      this.#sql.exec("INSERT OR REPLACE INTO webhook_facts VALUES (?, ?, ?)", name, text, crc);
    }
    this.#facts = { ...this.#facts, ...changed };
  }

  addDeadLetter(letter: DeadLetter): void {
    const text = JSON.stringify(letter);
    const crc = crcOf(this.#crc32c, letter.id, text);
    this.#sql.exec("INSERT INTO webhook_dead_letters (letter, crc) VALUES (?, ?)", text, crc);
    this.#sql.exec(
      "DELETE FROM webhook_dead_letters WHERE id <= (SELECT MAX(id) FROM webhook_dead_letters) - ?",
      MAX_DEAD_LETTERS,
    );
  }

  /** Throws CorruptRecord. */
  deadLetters(before: number, limit: number): readonly NumberedDeadLetter[] {
    const query = "SELECT * FROM webhook_dead_letters WHERE id < ? ORDER BY id DESC LIMIT ?";
    return this.#sql
      .exec<LetterRow>(query, before, limit)
      .toArray()
      .map((row) => {
        const letter = JSON.parse(row.letter) as DeadLetter;
        if (crcOf(this.#crc32c, letter.id, row.letter) !== row.crc)
          throw new CorruptRecord(`the dead letter ${row.id} fails its checksum`);
        return { ...letter, number: row.id };
      });
  }

  get deadLetterCount(): number {
    return this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM webhook_dead_letters").one().n;
  }
}

function crcOf(crc32c: Crc32c, name: string, value: string): number {
  return crc32c(encoder.encode(`${name}\0${value}`));
}
