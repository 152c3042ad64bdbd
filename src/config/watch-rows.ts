// Which watches a connection has, in SQL: connections that hibernate find them again.
// Guarantees: rows are checked when they are read (CRC32C); what was written in a turn commits with it. Must not: hold memory.
import type { SqlStorage } from "../storage/types.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import type { WatchId, WatchOptions } from "../wire/config-watch.ts";
import { CorruptRecord, type Crc32c } from "./record.ts";

const INSERT = "INSERT OR REPLACE INTO config_watches (socket, watch, state) VALUES (?, ?, ?)";
const DELETE = "DELETE FROM config_watches WHERE socket = ? AND watch = ?";
const DELETE_ALL_OF = "DELETE FROM config_watches WHERE socket = ?";
const SELECT = "SELECT watch, state FROM config_watches WHERE socket = ?";
const SOCKETS = "SELECT DISTINCT socket FROM config_watches";

const FLAG = { prevKv: 1, noPut: 2, noDelete: 4, progressNotify: 8, fragment: 16 } as const;
const CRC_BYTES = 4;

export interface RegisteredWatch {
  readonly id: WatchId;
  readonly options: WatchOptions;
}

export class WatchRows {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #writer = new ByteWriter(128);

  constructor(sql: SqlStorage, crc32c: Crc32c) {
    this.#sql = sql;
    this.#crc32c = crc32c;
  }

  add(socket: number, watch: WatchId, options: WatchOptions): void {
    this.#sql.exec(INSERT, socket, watch, this.#bytesOf(watch, options));
  }

  remove(socket: number, watch: WatchId): void {
    this.#sql.exec(DELETE, socket, watch);
  }

  removeAllOf(socket: number): void {
    this.#sql.exec(DELETE_ALL_OF, socket);
  }

  /** Forgets the connections that are no more. */
  keepOnly(sockets: ReadonlySet<number>): void {
    const rows = [...this.#sql.exec<{ socket: number }>(SOCKETS)];
    for (const { socket } of rows) if (!sockets.has(socket)) this.removeAllOf(socket);
  }

  /** Throws CorruptRecord. */
  of(socket: number): readonly RegisteredWatch[] {
    const watches: RegisteredWatch[] = [];
    for (const { watch, state } of this.#sql.exec<{ watch: number; state: ArrayBuffer }>(SELECT, socket))
      watches.push({ id: watch, options: this.#optionsOf(watch, new Uint8Array(state)) });
    return watches;
  }

  #bytesOf(watch: WatchId, options: WatchOptions): Uint8Array {
    const writer = this.#writer;
    writer.reset();
    writer.u32(0);
    writer.varint(watch);
    let flags = 0;
    for (const [name, bit] of Object.entries(FLAG)) if (options[name as keyof typeof FLAG]) flags |= bit;
    writer.u8(flags);
    writer.binary(options.key);
    writer.binary(options.rangeEnd);
    writer.varint(options.startRevision ?? 0);
    writer.u32At(0, this.#crc32c(writer.view().subarray(CRC_BYTES)));
    return writer.take();
  }

  #optionsOf(watch: WatchId, bytes: Uint8Array): WatchOptions {
    try {
      const reader = new ByteReader(bytes);
      if (reader.u32() !== this.#crc32c(bytes.subarray(CRC_BYTES)) || reader.varint() !== watch)
        throw new CorruptRecord("a watch's row fails its checksum");
      const flags = reader.u8();
      return {
        prevKv: (flags & FLAG.prevKv) !== 0,
        noPut: (flags & FLAG.noPut) !== 0,
        noDelete: (flags & FLAG.noDelete) !== 0,
        progressNotify: (flags & FLAG.progressNotify) !== 0,
        fragment: (flags & FLAG.fragment) !== 0,
        key: reader.binary(),
        rangeEnd: reader.binary(),
        startRevision: reader.varint(),
      };
    } catch (error) {
      if (error instanceof MalformedBytes) throw new CorruptRecord(`a watch's row is cut off: ${error.message}`);
      throw error;
    }
  }
}
